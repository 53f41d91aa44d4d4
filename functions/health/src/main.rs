fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve("health", health::app, health::prepare)
}
