fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve("refresh", refresh::app, refresh::prepare)
}
