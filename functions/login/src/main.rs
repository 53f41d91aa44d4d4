fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("login", login::app, sallyport_http::Platform::warm_up)
}
