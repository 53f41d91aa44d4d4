fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve_trigger("maintenance", maintenance::trigger, async |_| {})
}
