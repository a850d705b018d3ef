# Processes that a script started and may stop, remembered in files: sourced by stack and quickstart.
# A file holds the pid and the start time of the process, so that a pid that was used again is not taken for ours.
# shellcheck shell=bash

start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# remember FILE PID
remember() { echo "$2 $(start_time "$2")" >"$1"; }

# running_pid FILE prints the pid, or fails when that process is gone.
running_pid() {
	local pid started
	[ -f "$1" ] && read -r pid started <"$1" && [ -n "${started:-}" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

# stop_process FILE SIGNAL waits up to 25 s, then kills.
stop_process() {
	local pid waited
	pid=$(running_pid "$1") || { rm -f "$1"; return 0; }
	kill -"$2" "$pid" 2>/dev/null || true
	for ((waited = 0; waited < 250; waited++)); do
		running_pid "$1" >/dev/null || break
		sleep 0.1
	done
	if running_pid "$1" >/dev/null; then kill -KILL "$pid" 2>/dev/null || true; fi
	rm -f "$1"
}

# Ports below the kernel's range for outgoing connections, so that a client's own socket never takes one meanwhile.
port_is_free() {
	local hex
	printf -v hex '%04X' "$1"
	# Connections that only wait to be forgotten (TIME_WAIT, 06) keep no server from its port.
	! grep -qsiE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ (0[1-57-9]|0[A-F])" /proc/net/tcp /proc/net/tcp6
}

free_port() {
	local port tries
	for ((tries = 0; tries < 200; tries++)); do
		port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
		if port_is_free "$port"; then
			echo "$port"
			return
		fi
	done
	die "found no free port between 20000 and 32000"
}
