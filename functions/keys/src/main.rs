fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve("keys", keys::app, keys::prepare)
}
