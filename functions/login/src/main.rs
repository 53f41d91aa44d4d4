fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve("login", login::app, login::prepare)
}
