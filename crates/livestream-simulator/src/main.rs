//! The simulator as a program: listens, and prints the settings of a source that reads from it.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use clap::Parser;
use livestream_simulator::{Behaviour, Rate, Simulator};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  livestream-simulator --rate 5
  livestream-simulator --drop-every 1h --speed 60           an hour in a minute
  curl -X POST http://127.0.0.1:8099/simulate/drop          ends all connections suddenly
  curl -X POST 'http://127.0.0.1:8099/simulate/answer?status=503&times=2'
  curl -X POST http://127.0.0.1:8099/simulate/expire        all tokens are refused from now on
  curl -X POST --data-binary @hits.json http://127.0.0.1:8099/simulate/send
  curl http://127.0.0.1:8099/simulate                       connections, answers, records

It prints settings for a source that reads from it. With --speed, its minute of remembering a lost
connection is shorter, too: set `source.reconnect_wait` accordingly.";

/// Behave like Adobe's Live Stream API, for trying sources out
#[derive(Parser)]
#[command(name = "livestream-simulator", after_help = EXAMPLES)]
struct Arguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// Records per second; `max`: as many as are read
    #[arg(long, default_value = "1", value_parser = rate)]
    rate: Rate,
    /// So many times faster than real
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    speed: u32,
    /// End every connection at this age, e.g. 1h
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    drop_every: Option<Duration>,
    /// Lifetime of a token
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    token_lifetime: Duration,
    /// Name of the stream; others are not found
    #[arg(long, default_value = "simulated")]
    stream: String,
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Unlimited);
    }
    let rate = text.parse().ok().filter(|rate| (0.0..=1e6).contains(rate));
    match rate {
        Some(0.0) => Ok(Rate::Nothing),
        Some(rate) => Ok(Rate::PerSecond(rate)),
        None => Err("a number from 0 to 1000000, or `max`".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| "such as 90s, 15m, 1h".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        format!("cannot listen on {}: {error}; choose another with --listen", arguments.listen)
    })?;
    let address = listener.local_addr()?;
    let simulator = Simulator::new(Behaviour {
        speed: arguments.speed,
        stream: arguments.stream.clone(),
        rate: arguments.rate,
        token_lifetime: arguments.token_lifetime,
        drop_every: arguments.drop_every,
        ..Behaviour::default()
    });
    // Standard output has settings only, so that it can go straight into a file.
    io::stdout().write_all(settings(address, &arguments).as_bytes())?;
    writeln!(io::stderr(), "Listening on {address}; Ctrl-C ends it.")?;
    let stop = CancellationToken::new();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let stopping = async {
        tokio::select! {
            _ = interrupted.recv() => (),
            _ = terminated.recv() => (),
        }
        stop.cancel();
    };
    tokio::join!(simulator.serve(listener, stop.clone()), stopping).0?;
    Ok(())
}

fn settings(address: SocketAddr, arguments: &Arguments) -> String {
    let wait = if arguments.speed > 1 {
        let wait_ms = 60_000 / u64::from(arguments.speed) + 1;
        format!("[source]\nreconnect_wait = \"{wait_ms}ms\"\n\n")
    } else {
        String::new()
    };
    format!(
        "{wait}[source.livestream.simulated]\n\
         url = \"http://{address}/api/1/stream/{stream}\"\n\
         token_url = \"http://{address}/ims/token/v3\"\n\
         client_id = \"anybody\"\n\
         client_secret = \"anything\"\n",
        stream = arguments.stream,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_durations_are_read_as_people_write_them() {
        assert_eq!(rate("max"), Ok(Rate::Unlimited));
        assert_eq!(rate("0"), Ok(Rate::Nothing));
        assert_eq!(rate("2.5"), Ok(Rate::PerSecond(2.5)));
        assert!(rate("-1").is_err() && rate("many").is_err() && rate("NaN").is_err());
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3_600)));
        assert!(duration("0s").is_err() && duration("-1s").is_err() && duration("soon").is_err());
    }
}
