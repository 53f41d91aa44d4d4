fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("mfa", mfa::app, |platform| platform.warm_up_for(mfa::CALLS_SIDE_BY_SIDE))
}
