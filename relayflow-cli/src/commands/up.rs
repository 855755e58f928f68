//! `relayflow up`: the daemon in this process.

use relayflow_core::api::codes::Exit;
use relayflow_daemon::args::UpArgs;
use relayflow_daemon::{logs, serve, signals};

use crate::app::App;
use crate::failure::{Done, Failure};

pub(crate) async fn up(app: &App, args: UpArgs) -> Done {
    logs::start(args.log_format, args.log_default());
    let (options, warnings) = args.options(app.global.db.clone()).map_err(|mistakes| {
        let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        Failure::new("usage.config", "the configuration cannot be put in force")
            .why(shown.join("\n").replace('\n', "\n  "))
    })?;
    for warning in warnings {
        app.out.complain(&warning.to_string());
    }
    let stop = signals::stop_token()?;
    serve(options, stop)
        .await
        .map(|()| Exit::Ok)
        .map_err(|e| Failure::new(format!("{}.serve", e.exit().name()), e.whole()))
}
