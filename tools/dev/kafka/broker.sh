#!/usr/bin/env bash
# One real Apache Kafka node (KRaft, no replication) for tests, the demo and the bench.
#
#   broker.sh fetch                                   jars into the cache, checked; prints the folder
#   broker.sh start --dir DIR [--port N] [--owner PID]
#   broker.sh stop --dir DIR
#
# start returns once the broker serves, having written DIR/bootstrap (host:port) and DIR/pid; its log is DIR/broker.log.
# A broker that was stopped or killed -9 starts again on the same DIR, port and data. With --owner it ends by itself
# when that process is gone. KAFKA_JVM_OPTS replaces the small default heap.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=4.1.1
jars=${LANDFALL_CACHE:-$HOME/.cache/landfall}/kafka-$version

die() { echo "broker.sh: $*" >&2; exit 1; }

checked() { (cd "$1" && sha256sum --quiet --strict -c "$here/jars.sha256") >&2 && [ "$(ls "$1" | wc -l)" = "$(wc -l < "$here/jars.sha256")" ]; }

fetch() {
  command -v java >/dev/null || die "no java: install default-jre-headless"
  mkdir -p "$(dirname "$jars")"
  exec 9>"$jars.lock"
  flock 9
  if [ -d "$jars" ]; then
    checked "$jars" && { exec 9>&-; return; }
    echo "broker.sh: $jars does not match jars.sha256: fetching it anew" >&2
    rm -rf "$jars"
  fi
  command -v mvn >/dev/null || die "no mvn: install maven"
  rm -rf "$jars.part"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars.part" >&2 ||
    die "maven could not fetch Kafka $version; is https://repo1.maven.org reachable?"
  checked "$jars.part" || die "the fetched jars do not match $here/jars.sha256: nothing was installed"
  mv "$jars.part" "$jars"
  exec 9>&-
}

# Below the range the kernel hands out for outgoing connections, so that nobody takes it between here and the bind.
free_port() {
  local port
  for _ in $(seq 100); do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
  die "no free port"
}

running() { [ -s "$dir/pid" ] && tr '\0' ' ' 2>/dev/null < "/proc/$(cat "$dir/pid")/cmdline" | grep -qF " $dir/server.properties"; }

write_properties() {
  cat > "$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$2
log.dirs=$dir/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.cleaner.dedupe.buffer.size=8388608
log.segment.bytes=67108864
EOF
  [ ! -s "$dir/extra.properties" ] || cat "$dir/extra.properties" >> "$dir/server.properties"
  cat > "$dir/log4j.properties" <<EOF
log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
EOF
}

launch() {
  local from pid
  from=$(($(stat -c %s "$dir/broker.log" 2>/dev/null || echo 0) + 1))
  # shellcheck disable=SC2086
  setsid java $opts -Dlog4j.configuration="file:$dir/log4j.properties" -cp "$jars/*" kafka.Kafka "$dir/server.properties" \
    >> "$dir/broker.log" 2>&1 < /dev/null &
  pid=$!
  echo "$pid" > "$dir/pid"
  for _ in $(seq 600); do
    # No pipe: once grep has found the line, tail may die of its closed output, and pipefail would call that a failure.
    grep -q 'Kafka Server started' < <(tail -c "+$from" "$dir/broker.log" 2>/dev/null) && return 0
    kill -0 "$pid" 2>/dev/null || { rm -f "$dir/pid"; return 1; }
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
  return 1
}

start() {
  [ -n "$dir" ] || die "start needs --dir"
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  ! running || die "a broker runs on $dir already (pid $(cat "$dir/pid"))"
  fetch
  opts=${KAFKA_JVM_OPTS:--Xms64m -Xmx320m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}
  local tries=5 controller
  if [ -s "$dir/server.properties" ]; then tries=1; fi
  while :; do
    if [ ! -s "$dir/server.properties" ]; then
      controller=$(free_port)
      [ -n "$port" ] || { port=$(free_port); chosen=1; }
      write_properties "$port" "$controller"
      # shellcheck disable=SC2086
      java $opts -Dlog4j.configuration="file:$dir/log4j.properties" -cp "$jars/*" kafka.tools.StorageTool format \
        -t bGFuZGZhbGwtdGVzdC1icg -c "$dir/server.properties" > "$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; die "cannot format $dir/data"; }
      echo "127.0.0.1:$port" > "$dir/bootstrap"
    fi
    if launch; then break; fi
    tries=$((tries - 1))
    if [ $tries -gt 0 ] && grep -q 'Address already in use' "$dir/broker.log"; then
      rm -rf "$dir/server.properties" "$dir/data"
      [ -z "${chosen:-}" ] || port=
      continue
    fi
    tail -n 20 "$dir/broker.log" >&2
    die "the broker did not start; its log is $dir/broker.log"
  done
  if [ -n "$owner" ]; then
    setsid bash -c 'while kill -0 "$1" 2>/dev/null && kill -0 "$2" 2>/dev/null; do sleep 1; done
      kill -0 "$1" 2>/dev/null || kill -9 "$2" 2>/dev/null' owner "$owner" "$(cat "$dir/pid")" < /dev/null > /dev/null 2>&1 &
  fi
  cat "$dir/bootstrap"
}

stop() {
  [ -n "$dir" ] || die "stop needs --dir"
  dir=$(cd "$dir" && pwd)
  running || { rm -f "$dir/pid"; return 0; }
  local pid
  pid=$(cat "$dir/pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 150); do
    running || { rm -f "$dir/pid"; return 0; }
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
}

command=${1:-}
shift || true
dir= port= owner=
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=$2; shift 2 ;;
    --port) port=$2; shift 2 ;;
    --owner) owner=$2; shift 2 ;;
    *) die "unknown option $1" ;;
  esac
done
case $command in
  fetch) fetch; echo "$jars" ;;
  start) start ;;
  stop) stop ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
