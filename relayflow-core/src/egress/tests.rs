use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;

fn egress(allow: &[&str]) -> Egress {
    Egress::new(&EgressConfig { allow: allow.iter().map(|net| net.parse().unwrap()).collect() })
}

#[test]
fn only_public_addresses_are_called_unless_the_config_opens_more() {
    let closed = egress(&[]);
    for public in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
    ] {
        assert!(closed.allows(public.parse().unwrap()), "{public}");
    }
    for refused in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        assert!(!closed.allows(refused.parse().unwrap()), "{refused}");
    }
}

#[test]
fn a_wide_range_does_not_open_a_metadata_address() {
    let wide = egress(&["0.0.0.0/0", "::/0"]);
    assert!(wide.allows("127.0.0.1".parse().unwrap()));
    assert!(wide.allows("::ffff:127.0.0.1".parse().unwrap()));
    assert!(wide.allows("fd12::1".parse().unwrap()));
    for metadata in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"] {
        assert!(!wide.allows(metadata.parse().unwrap()), "{metadata}");
    }
    let exact = egress(&["169.254.169.254/32", "fd00:ec2::254/128"]);
    assert!(exact.allows("169.254.169.254".parse().unwrap()));
    assert!(exact.allows("fd00:ec2::254".parse().unwrap()));
    assert!(!exact.allows("169.254.170.2".parse().unwrap()));
}

#[tokio::test]
async fn other_spellings_of_loopback_are_loopback() {
    let connector = Connector::new(egress(&[]), Resolver::System);
    for host in ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "[::1]", "[::]", "0"] {
        let uri = format!("http://{host}:1/").parse().unwrap();
        match connector.clone().connect(uri).await {
            // Where the C library does not take such a spelling, it is no address at all.
            Err(ConnectError::Refused(_) | ConnectError::NotFound(_)) => {}
            other => panic!("{host}: {:?}", other.map(|_| "connected")),
        }
    }
}

/// A resolver that gives the next of `answers` each time it is asked.
fn rebinding(answers: &'static [&'static [&'static str]]) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let resolver = Resolver::Fixed(Arc::new(move |_| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        answers[n.min(answers.len() - 1)].iter().map(|a| a.parse().unwrap()).collect()
    }));
    (resolver, asked)
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_vetted_answer_is_dialled() {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (resolver, asked) = rebinding(&[&["127.0.0.3", "127.0.0.2"], &["127.0.0.3"]]);
    let connector = Connector::new(egress(&["127.0.0.2/32"]), resolver);

    let uri: Uri = format!("http://rebind.example:{port}/").parse().unwrap();
    let stream = connector.clone().connect(uri.clone()).await.unwrap();
    assert_eq!(stream.inner().peer_addr().unwrap().ip().to_string(), "127.0.0.2");
    assert!(stream.inner().nodelay().unwrap());
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // The next connection is vetted anew.
    let refused = connector.connect(uri).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`rebind.example` is 127.0.0.3, which is not a public address; `egress.allow` can open it"
    );
}

#[tokio::test]
async fn a_name_without_addresses_is_not_found() {
    let (resolver, _) = rebinding(&[&[]]);
    let connector = Connector::new(egress(&[]), resolver);
    let error = connector.connect("http://gone.example/".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotFound(_)), "{error}");
}
