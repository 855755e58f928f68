pub(crate) async fn bench(_: &crate::app::App, _: &crate::args::BenchArgs) -> crate::failure::Done {
    Ok(relayflow_core::api::codes::Exit::Ok)
}
