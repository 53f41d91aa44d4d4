fn main() -> Result<(), sallyport_http::BootError> {
    sallyport_http::serve("refresh", refresh::app, |platform| platform.warm_up_for(1))
}
