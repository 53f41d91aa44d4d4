fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("login", login::app, login::prepare)
}
