pub(crate) async fn demo(_: &crate::app::App) -> crate::failure::Done {
    Ok(relayflow_core::api::codes::Exit::Ok)
}
