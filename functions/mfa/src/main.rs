fn main() -> Result<(), sallyport_lambda::BootError> {
    sallyport_lambda::serve("mfa", mfa::app, mfa::prepare)
}
