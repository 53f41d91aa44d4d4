fn main() -> Result<(), sallyport_http::BootError> {
    // It calls none of what a warm-up would open.
    sallyport_http::serve_trigger("smoke", smoke::trigger, |_| async {})
}
