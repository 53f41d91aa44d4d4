fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("mfa", mfa::app, mfa::prepare)
}
