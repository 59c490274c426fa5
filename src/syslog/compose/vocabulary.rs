//! The words that templates draw from.

use super::text::{Word, words};

pub(super) static USERS: [Word; 24] = words([
    "root", "admin", "deploy", "backup", "postgres", "git", "www-data", "jenkins", "alice", "bob",
    "carol", "dmitri", "eva", "farid", "grace", "hiro", "ines", "jonas", "kwame", "lucia",
    "oracle", "test", "ubuntu", "nagios",
]);

pub(super) static PATHS: [Word; 32] = words([
    "/",
    "/index.html",
    "/login",
    "/logout",
    "/api/v1/orders",
    "/api/v1/orders/search",
    "/api/v1/users",
    "/api/v2/sessions",
    "/api/v2/inventory",
    "/api/v2/metrics",
    "/healthz",
    "/static/app.js",
    "/static/vendor.js",
    "/static/site.css",
    "/static/logo.svg",
    "/favicon.ico",
    "/cart",
    "/cart/checkout",
    "/products/list",
    "/products/detail",
    "/search",
    "/wp-login.php",
    "/.env",
    "/robots.txt",
    "/images/banner.jpg",
    "/images/thumb.webp",
    "/docs/install",
    "/docs/reference",
    "/feed.xml",
    "/graphql",
    "/upload",
    "/reports/daily",
]);

pub(super) static AGENTS: [Word; 8] = words([
    "Mozilla/5.0 (X11; Linux x86_64)",
    "Mozilla/5.0 (Macintosh)",
    "Mozilla/5.0 (Windows NT 10.0)",
    "curl/8.5.0",
    "Go-http-client/2.0",
    "python-requests/2.31.0",
    "kube-probe/1.29",
    "okhttp/4.12.0",
]);

pub(super) static METHODS: [Word; 8] =
    words(["GET", "GET", "GET", "GET", "POST", "POST", "PUT", "HEAD"]);

pub(super) static STATUSES: [Word; 16] = words([
    "200", "200", "200", "200", "200", "200", "200", "204", "206", "301", "302", "304", "400",
    "401", "404", "502",
]);

pub(super) static MAIL_DOMAINS: [Word; 16] = words([
    "example.com",
    "example.net",
    "example.org",
    "mail.example.com",
    "lists.example.org",
    "shop.example.net",
    "corp.example",
    "news.example.com",
    "billing.example.net",
    "uni.example",
    "post.example.org",
    "relay.example",
    "mx.example.com",
    "alerts.example",
    "dev.example",
    "office.example.net",
]);

pub(super) static UNITS: [Word; 20] = words([
    "nginx.service",
    "postgresql@15-main.service",
    "docker.service",
    "cron.service",
    "ssh.service",
    "logrotate.service",
    "apt-daily.service",
    "fstrim.service",
    "systemd-tmpfiles-clean.service",
    "man-db.service",
    "redis-server.service",
    "prometheus.service",
    "node_exporter.service",
    "user@1000.service",
    "session-c2.scope",
    "chrony.service",
    "rabbitmq-server.service",
    "tomcat9.service",
    "haproxy.service",
    "containerd.service",
]);

pub(super) static UNIT_STATES: [Word; 8] = words([
    ": Deactivated successfully.",
    ": Consumed 1.204s CPU time.",
    ": Succeeded.",
    ": Main process exited, ",
    ": Scheduled restart job.",
    ": Failed with exit code.",
    ": Started.",
    ": Reached target.",
]);

pub(super) static JOBS: [Word; 12] = words([
    "run-parts /etc/cron.hourly",
    "/usr/lib/sysstat/debian-sa1 1",
    "/opt/backup/bin/rotate.sh",
    "/usr/bin/certbot -q renew",
    "/srv/app/bin/console",
    "/usr/local/bin/sync-users",
    "/usr/sbin/ntpdate-debian -s",
    "/opt/etl/load.py",
    "/usr/bin/find /tmp -mtime",
    "/opt/report",
    "/usr/bin/psql -qc vacuum",
    "/bin/sh -c housekeeping",
]);

pub(super) static CLASSES: [Word; 16] = words([
    "c.e.shop.OrderService",
    "c.e.shop.CartController",
    "c.e.pay.PaymentGateway",
    "c.e.pay.LedgerRepository",
    "c.e.auth.TokenFilter",
    "c.e.auth.SessionStore",
    "c.e.stock.InventoryJob",
    "o.h.engine.jdbc.SqlHelper",
    "c.z.hikari.pool.HikariPool",
    "o.a.k.clients.NetworkClient",
    "o.a.c.c.StandardWrapper",
    "c.e.mail.TemplateRenderer",
    "c.e.search.IndexUpdater",
    "c.e.export.CsvWriter",
    "c.e.core.RetryPolicy",
    "i.n.c.DefaultLoop",
]);

pub(super) static DEEDS: [Word; 12] = words([
    "order accepted",
    "payment authorised",
    "cache miss",
    "retrying request",
    "session renewed",
    "connection reset by peer",
    "slow statement",
    "stock reserved",
    "message published",
    "token expired",
    "batch committed",
    "invoice rendered",
]);

pub(super) static DEVICES: [Word; 12] = words([
    "eth0", "eth1", "ens3", "ens4f0", "bond0", "br-lan", "wlan0", "tun0", "vlan120", "vlan340",
    "docker0", "enp5s0",
]);

pub(super) static ACTIONS: [Word; 4] = words(["ACCEPT", "DROP", "DROP", "REJECT"]);

pub(super) static PROTOCOLS: [Word; 4] = words(["TCP", "TCP", "UDP", "ICMP"]);

pub(super) static PORTS: [u32; 16] =
    [22, 23, 25, 53, 80, 123, 161, 389, 443, 445, 514, 1433, 3306, 3389, 5432, 8080];

pub(super) static ZONES: [Word; 8] =
    words(["trust", "untrust", "dmz", "guest", "mgmt", "voice", "iot", "vpn"]);

pub(super) static QUERIES: [Word; 10] = words([
    "SELECT * FROM orders WHERE id=",
    "UPDATE stock SET held=",
    "INSERT INTO audit VALUES (",
    "DELETE FROM sessions WHERE id=",
    "SELECT count(*) FROM jobs #",
    "COPY events_2026 FROM part ",
    "SELECT name FROM users WHERE u=",
    "VACUUM ANALYZE partition_",
    "LISTEN channel_",
    "COMMIT -- ",
]);

pub(super) static STATES: [Word; 16] = words([
    "ok",
    "true",
    "false status=none",
    "idle",
    "ready state=up",
    "failed reason=timeout",
    "timeout retry=later",
    "eu-west-1 zone=a",
    "us-east-2 zone=c",
    "primary role=leader",
    "standby role=follower",
    "cached hit=1",
    "new state=open",
    "closed by=peer",
    "open",
    "none",
]);

pub(super) static KEYS: [Word; 16] = words([
    " session=",
    " user_id=",
    " bytes=",
    " duration_ms=",
    " request_id=",
    " thread=",
    " queue=",
    " partition=",
    " tenant=",
    " order=",
    " policy=",
    " latency_us=",
    " connection=",
    " worker=",
    " response_code=",
    " trace=",
]);

pub(super) static ROLES: [&str; 12] =
    ["web", "app", "db", "mail", "dns", "fw-edge", "lb", "cache", "build", "store", "vpn", "mon"];
