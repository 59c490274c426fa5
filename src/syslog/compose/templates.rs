//! What the programs of a data centre say, one function each: straight code, no interpreter.
//!
//! The mix is what a busy collector sees: web and mail servers, firewalls, ssh under attack,
//! schedulers, DHCP, DNS, databases, Java. Fields vary as they do in life: clients and users come
//! back often, ports and ids hardly ever, a daemon keeps its pid.

use super::Host;
use super::text::{Pen, Random, Word, mix};
use super::vocabulary::*;

pub(super) struct Template {
    pub(super) app: Word,
    /// RFC 5424's MSGID.
    pub(super) message_id: Word,
    pub(super) facility: u8,
    pub(super) severity: u8,
    pub(super) process: Process,
    /// How often it is drawn, relative to the others.
    pub(super) weight: u8,
    pub(super) body: fn(&mut Pen, &mut Random, &Host),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// The kernel: no pid.
    None,
    /// A daemon: one pid a host.
    Lasting,
    /// A child for each task.
    Fleeting,
}

use Process::{Fleeting, Lasting};

const fn row(
    (app, message_id): (&str, &str),
    (facility, severity): (u8, u8),
    process: Process,
    weight: u8,
    body: fn(&mut Pen, &mut Random, &Host),
) -> Template {
    let (app, message_id) = (Word::new(app), Word::new(message_id));
    Template { app, message_id, facility, severity, process, weight, body }
}

pub(super) static TEMPLATES: [Template; 20] = [
    row(("sshd", "AUTH"), (10, 6), Fleeting, 8, ssh_accepted),
    row(("sshd", "AUTHFAIL"), (10, 5), Fleeting, 14, ssh_failed),
    row(("sshd", "DISCONNECT"), (10, 6), Fleeting, 7, ssh_closed),
    row(("nginx", "ACCESS"), (16, 6), Lasting, 40, nginx_access),
    row(("nginx", "ERROR"), (16, 3), Lasting, 4, nginx_error),
    row(("haproxy", "HTTP"), (16, 6), Lasting, 16, haproxy),
    row(("kernel", "FW"), (0, 4), Process::None, 20, firewall_kernel),
    row(("kernel", "LINK"), (0, 6), Process::None, 3, kernel_link),
    row(("kernel", "OOM"), (0, 4), Process::None, 2, kernel_memory),
    row(("firewall", "TRAFFIC"), (20, 6), Process::None, 28, firewall_traffic),
    row(("postfix/smtpd", "CONNECT"), (2, 6), Fleeting, 8, mail_connect),
    row(("postfix/qmgr", "QUEUE"), (2, 6), Lasting, 8, mail_queued),
    row(("postfix/smtp", "SENT"), (2, 6), Fleeting, 8, mail_sent),
    row(("systemd", "UNIT"), (3, 6), Lasting, 12, systemd_unit),
    row(("CRON", "JOB"), (9, 6), Fleeting, 8, cron_job),
    row(("dhcpd", "LEASE"), (3, 6), Lasting, 12, dhcp_lease),
    row(("named", "QUERY"), (3, 6), Lasting, 16, dns_query),
    row(("postgres", "LOG"), (17, 6), Fleeting, 12, database_statement),
    row(("orders", "APP"), (18, 6), Lasting, 22, java_line),
    row(("sudo", "COMMAND"), (10, 5), Process::None, 4, sudo_command),
];

/// One of some thousand clients; the first are seen most.
#[inline(always)]
fn client(random: &mut Random) -> u32 {
    let bits = mix(u64::from(random.skewed(1200)) + 77) as u32;
    // Three of four are in private networks.
    if bits & 3 == 0 { bits | 0x1000_0000 } else { 0x0a00_0000 | (bits >> 8 & 0x000f_ffff) }
}

#[inline(always)]
fn port(random: &mut Random) -> u32 {
    32_768 + random.below(28_232)
}

fn ssh_accepted(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"Accepted publickey for ");
    pen.word(random.pick(&USERS));
    pen.text(b" from ");
    pen.address(client(random));
    pen.text(b" port ");
    pen.decimal(port(random));
    pen.text(b" ssh2: ED25519 SHA256:");
    pen.hex8(random.skewed(200).wrapping_mul(0x9E37_79B9));
}

fn ssh_failed(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"Failed password for invalid user ");
    pen.word(random.pick(&USERS));
    pen.text(b" from ");
    pen.address(client(random));
    pen.text(b" port ");
    pen.decimal(port(random));
    pen.text(b" ssh2");
}

fn ssh_closed(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"Received disconnect from ");
    pen.address(client(random));
    pen.text(b" port ");
    pen.decimal(port(random));
    pen.text(b":11: disconnected by user ");
    pen.word(random.pick(&USERS));
}

fn nginx_access(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.address(client(random));
    pen.text(b" - - \"");
    pen.word(random.pick(&METHODS));
    pen.text(b" ");
    pen.word(random.pick(&PATHS));
    pen.text(b"?id=");
    pen.decimal(random.skewed(9000));
    pen.text(b" HTTP/1.1\" ");
    pen.word(random.pick(&STATUSES));
    pen.text(b" ");
    pen.decimal(random.skewed(60_000));
    pen.text(b" 0.");
    pen.three(random.skewed(1000));
    pen.text(b" \"");
    pen.word(random.pick(&AGENTS));
    pen.text(b"\"");
}

fn nginx_error(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"[error] *");
    pen.decimal(random.below(10_000_000));
    pen.text(b" upstream timed out (110: Connection timed out), client: ");
    pen.address(client(random));
    pen.text(b", upstream: \"http://10.20.0.");
    pen.decimal(random.below(24) + 10);
    pen.text(b":8080");
    pen.word(random.pick(&PATHS));
    pen.text(b"\"");
}

fn haproxy(pen: &mut Pen, random: &mut Random, host: &Host) {
    pen.address(client(random));
    pen.text(b":");
    pen.decimal(port(random));
    pen.text(b" https-in~ pool-");
    pen.decimal(u32::from(host.number) % 6);
    pen.text(b"/srv");
    pen.decimal(random.below(16));
    pen.text(b" 0/0/");
    pen.decimal(random.skewed(12));
    pen.text(b"/");
    pen.decimal(random.skewed(900));
    pen.text(b" ");
    pen.word(random.pick(&STATUSES));
    pen.text(b" ");
    pen.decimal(random.skewed(80_000));
    pen.text(b" - - ---- \"GET ");
    pen.word(random.pick(&PATHS));
    pen.text(b" HTTP/2.0\"");
}

fn firewall_kernel(pen: &mut Pen, random: &mut Random, host: &Host) {
    pen.text(b"[");
    pen.decimal(host.pids * 911);
    pen.text(b".");
    pen.six(random.below(1_000_000));
    pen.text(b"] [UFW BLOCK] IN=");
    pen.word(random.pick(&DEVICES));
    pen.text(b" OUT= SRC=");
    pen.address(client(random));
    pen.text(b" DST=");
    pen.address(host.address);
    pen.text(b" LEN=");
    pen.decimal(40 + random.skewed(1460));
    pen.text(b" TTL=");
    pen.decimal(32 + random.below(32));
    pen.text(b" PROTO=");
    pen.word(random.pick(&PROTOCOLS));
    pen.text(b" SPT=");
    pen.decimal(port(random));
    pen.text(b" DPT=");
    pen.decimal(*random.pick(&PORTS));
}

fn kernel_link(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.word(random.pick(&DEVICES));
    pen.text(b": Link is Up - 10Gbps/Full - flow control rx/tx, irq ");
    pen.decimal(random.below(400));
}

fn kernel_memory(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"Out of memory: Killed process ");
    pen.decimal(random.below(60_000));
    pen.text(b" (java) total-vm:");
    pen.decimal(random.below(16_000_000));
    pen.text(b"kB, anon-rss:");
    pen.decimal(random.below(8_000_000));
    pen.text(b"kB, oom_score_adj:0");
}

fn firewall_traffic(pen: &mut Pen, random: &mut Random, host: &Host) {
    pen.text(b"action=");
    pen.word(random.pick(&ACTIONS));
    pen.text(b" src=");
    pen.address(client(random));
    pen.text(b":");
    pen.decimal(port(random));
    pen.text(b" dst=");
    pen.address(host.address ^ random.skewed(64));
    pen.text(b":");
    pen.decimal(*random.pick(&PORTS));
    pen.text(b" zone=");
    pen.word(random.pick(&ZONES));
    pen.text(b" rule=");
    pen.decimal(random.skewed(250));
    pen.text(b" session=");
    pen.decimal(random.below(400_000));
    pen.text(b" bytes=");
    pen.decimal(random.skewed(90_000));
}

fn mail_connect(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"connect from ");
    pen.word(random.pick(&MAIL_DOMAINS));
    pen.text(b"[");
    pen.address(client(random));
    pen.text(b"]");
}

fn mail_queued(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.hex8(random.next_u32());
    pen.text(b": from=<");
    mail_address(pen, random);
    pen.text(b">, size=");
    pen.decimal(random.skewed(400_000));
    pen.text(b", nrcpt=1 (queue active)");
}

fn mail_sent(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.hex8(random.next_u32());
    pen.text(b": to=<");
    mail_address(pen, random);
    pen.text(b">, relay=");
    pen.word(random.pick(&MAIL_DOMAINS));
    pen.text(b":25, delay=");
    pen.decimal(random.skewed(30));
    pen.text(b".");
    pen.three(random.below(1000));
    pen.text(b", dsn=2.0.0, status=sent (250 ok)");
}

#[inline(always)]
fn mail_address(pen: &mut Pen, random: &mut Random) {
    pen.word(random.pick(&USERS));
    pen.decimal(random.skewed(60));
    pen.text(b"@");
    pen.word(random.pick(&MAIL_DOMAINS));
}

fn systemd_unit(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.word(random.pick(&UNITS));
    pen.word(random.pick(&UNIT_STATES));
    pen.text(b" job ");
    pen.decimal(random.below(90_000));
}

fn cron_job(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"(");
    pen.word(random.pick(&USERS));
    pen.text(b") CMD (");
    pen.word(random.pick(&JOBS));
    pen.text(b" ");
    pen.decimal(random.skewed(60));
    pen.text(b" >/dev/null 2>&1)");
}

fn dhcp_lease(pen: &mut Pen, random: &mut Random, host: &Host) {
    let guest = random.skewed(2000);
    pen.text(b"DHCPACK on ");
    pen.address(0x0a40_0000 | guest);
    pen.text(b" to ");
    pen.hardware_address(mix(u64::from(guest)) as u32);
    pen.text(b" via ");
    pen.word(random.pick(&DEVICES));
    pen.text(b" relay ");
    pen.address(host.address);
    pen.text(b" xid ");
    pen.hex8(random.next_u32());
}

fn dns_query(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"client @0x7f");
    pen.hex8(random.skewed(256) << 12);
    pen.text(b" ");
    pen.address(client(random));
    pen.text(b"#");
    pen.decimal(port(random));
    pen.text(b": query: ");
    pen.word(random.pick(&USERS));
    pen.text(b".");
    pen.word(random.pick(&MAIL_DOMAINS));
    pen.text(b" IN A +E(0)K");
}

fn database_statement(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"[");
    pen.decimal(random.skewed(400) + 1);
    pen.text(b"-1] app@shop LOG:  duration: ");
    pen.decimal(random.skewed(4000));
    pen.text(b".");
    pen.three(random.below(1000));
    pen.text(b" ms  statement: ");
    pen.word(random.pick(&QUERIES));
    pen.decimal(random.below(5_000_000));
}

fn java_line(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"INFO [http-nio-8080-exec-");
    pen.decimal(random.below(48));
    pen.text(b"] ");
    pen.word(random.pick(&CLASSES));
    pen.text(b" - ");
    pen.word(random.pick(&DEEDS));
    pen.text(b" orderId=");
    pen.decimal(random.below(400_000));
    pen.text(b" traceId=");
    pen.hex8(random.next_u32());
    pen.text(b" took=");
    pen.decimal(random.skewed(2000));
    pen.text(b"ms");
}

fn sudo_command(pen: &mut Pen, random: &mut Random, _: &Host) {
    pen.text(b"  ");
    pen.word(random.pick(&USERS));
    pen.text(b" : TTY=pts/");
    pen.decimal(random.below(8));
    pen.text(b" ; PWD=/home ; USER=root ; COMMAND=");
    pen.word(random.pick(&JOBS));
}

/// One more ` key=value`: what fills a message up to its size.
#[inline(always)]
pub(super) fn filler(pen: &mut Pen, random: &mut Random) {
    let bits = random.next_u32();
    pen.word(&KEYS[(bits & 15) as usize]);
    match bits >> 5 & 7 {
        0 => pen.hex8(bits),
        1 | 2 => pen.decimal(bits >> 22),
        _ => pen.word(&STATES[(bits >> 8 & 15) as usize]),
    }
}
