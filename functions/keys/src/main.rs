fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("keys", keys::app, keys::prepare)
}
