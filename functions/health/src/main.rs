fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("health", health::app, health::prepare)
}
