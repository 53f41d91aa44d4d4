fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("login", login::app, |platform| platform.warm_up_for(login::CALLS_SIDE_BY_SIDE))
}
