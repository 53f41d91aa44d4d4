fn main() -> Result<(), sallyport_lambda::BootError> {
    // It calls none of what a warm-up would open.
    sallyport_lambda::serve_trigger("smoke", smoke::trigger, |_| async {})
}
