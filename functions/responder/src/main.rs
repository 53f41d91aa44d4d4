fn main() -> Result<(), sallyport_lambda::BootError> {
    // Nobody waits for it: what a warm-up would open is opened when it is needed.
    sallyport_lambda::serve_trigger("responder", responder::trigger, |_| async {})
}
