fn main() -> Result<(), sallyport_http::BootError> {
    // Nobody waits for it: what a warm-up would open is opened when it is needed.
    sallyport_http::serve_trigger("responder", responder::trigger, |_| async {})
}
