fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve_trigger("rotation", rotation::trigger, async |_| {})
}
