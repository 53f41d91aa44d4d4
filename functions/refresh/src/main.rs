fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("refresh", refresh::app, refresh::prepare)
}
