fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve_trigger("maintenance", maintenance::trigger, async |_| {})
}
