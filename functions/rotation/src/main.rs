fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve_trigger("rotation", rotation::trigger, async |_| {})
}
