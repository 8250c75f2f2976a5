#!/bin/bash
# Make this machine a node of its cluster: check the image, wait for the API where another machine
# founds the cluster, run kubeadm. Each phase is told to the gateway through guestinfo. Systemd runs
# it again after a reboot, and after a failure that may pass (exit code 1), until it has succeeded
# once. What kubeadm has begun is never begun twice on a control plane, because that could found a
# second etcd: such a failure is final (exit code 3).
set -uo pipefail

CONF=/etc/moorage
STATE=/var/lib/moorage
RUN=/run/moorage
LOG=/var/log/moorage
MANIFESTS=/etc/kubernetes/manifests
CLOUD=/var/lib/cloud/instances
DMI=/sys/class/dmi/id
PATIENCE_S=30

# shellcheck source=/dev/null
. "$CONF/boot.env"

rpc() {
    if command -v vmware-rpctool >/dev/null; then
        vmware-rpctool "$1"
    else
        vmtoolsd --cmd "$1"
    fi
}

# report PHASE DETAIL [FAILED]: tell gateway and log. The detail is cut and made safe for JSON.
report() {
    local detail line
    detail=$(printf '%s' "$2" | tr '\n\t"\134' "  '/" | tr -d '\000-\037' | cut -c1-900)
    line=$(printf '{"phase":"%s","at":"%s","detail":"%s","failed":%s}' \
        "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$detail" "${3:-false}")
    printf '%s\n' "$line" >>"$LOG/boot.log"
    printf '%s\n' "$line"
    rpc "info-set guestinfo.moorage.progress $line" >/dev/null 2>&1 || true
}

fail() {
    report "$1" "$2" true
    exit 1
}

give_up() {
    report "$1" "$2" true
    exit 3
}

# A control plane that was begun is not begun again: say again what went wrong the first time.
give_up_for_ever() {
    printf '%s\n%s\n' "$1" "$2" >"$STATE/failed"
    give_up "$1" "$2"
}

check_image() {
    local have
    have=$(kubeadm version -o short 2>&1) || give_up KubeadmMissing "kubeadm version: $have"
    if [ "$have" != "$VERSION" ]; then
        give_up VersionMismatch "the template has kubeadm $have and the cluster wants $VERSION: choose a template with $VERSION"
    fi
    have=$(kubelet --version 2>&1) || give_up KubeletMissing "kubelet --version: $have"
    if [ "${have##* }" != "$VERSION" ]; then
        give_up VersionMismatch "the template has kubelet ${have##* } and the cluster wants $VERSION: choose a template with $VERSION"
    fi
}

install_certificates() {
    [ -d "$CONF/ca-certificates" ] || return 0
    if command -v update-ca-certificates >/dev/null; then
        install -m 0644 "$CONF"/ca-certificates/*.crt /usr/local/share/ca-certificates/ &&
            update-ca-certificates
    elif command -v update-ca-trust >/dev/null; then
        install -m 0644 "$CONF"/ca-certificates/*.crt /etc/pki/ca-trust/source/anchors/ &&
            update-ca-trust
    else
        echo "neither update-ca-certificates nor update-ca-trust is in this image"
        false
    fi
}

prepare_runtime() {
    local output
    output=$(install_certificates 2>&1) || fail CertificatesNotInstalled "$output"
    [ -d "$CONF/ca-certificates" ] && RESTART_CONTAINERD=yes
    if [ -n "$MIRRORS" ] && ! containerd config dump 2>/dev/null |
        grep -q 'config_path *= *[^ ]*/etc/containerd/certs\.d'; then
        give_up RegistryMirrorsUnsupported "containerd of this template does not read /etc/containerd/certs.d: set config_path in its registry section"
    fi
    if [ -n "$RESTART_CONTAINERD" ]; then
        output=$(systemctl restart containerd 2>&1) || fail ContainerdNotReady "$output"
    else
        output=$(systemctl start containerd 2>&1) || fail ContainerdNotReady "$output"
    fi
}

run_commands() {
    [ -e "$CONF/$1" ] || return 0
    if ! "$CONF/$1" >"$LOG/$1.log" 2>&1; then
        fail "$2" "a command of the cluster's $3 failed; last line: $(tail -n 1 "$LOG/$1.log")"
    fi
}

default_device() { # 4 or 6
    ip "-$1" route show default |
        awk '{for (i = 1; i < NF; i++) if ($i == "dev") {print $(i + 1); exit}}'
}

# Those that can be used: IPv6 ones only once nobody else was found to have them, and lasting ones.
addresses() { # 4 or 6, [ARGUMENT...]
    local family=$1
    shift
    ip "-$family" -o address show scope global "$@" |
        awk '!/ (tentative|dadfailed|deprecated|temporary)( |$)/ {split($4, a, "/"); print a[1]}'
}

# One of each family, with commas. Static: the addresses asked for, once all are there. DHCP: those
# of the default route's device.
node_addresses() {
    local one family device have found=''
    have=$(addresses 4 && addresses 6)
    for one in $NODE_IPS; do
        grep -Fxq "$one" <<<"$have" || return 1
        found=$found,$one
    done
    if [ -z "$NODE_IPS" ]; then
        for family in $FAMILIES; do
            device=$(default_device "$family")
            [ -n "$device" ] || return 1
            one=$(addresses "$family" dev "$device" | grep -Fxv "$ENDPOINT_HOST" | head -n 1)
            [ -n "$one" ] || return 1
            found=$found,$one
        done
    fi
    echo "${found#,}"
}

wait_for_address() {
    local start=$SECONDS said='' what
    until addresses=$(node_addresses); do
        what="no address ${NODE_IPS:-from DHCP} on $INTERFACE; this node has $(ip -brief address |
            awk '$1 != "lo" {$1 = $1; print}' | tr '\n' ';')"
        if [ -z "$said" ] && [ $((SECONDS - start)) -ge "$PATIENCE_S" ]; then
            report WaitingForAddress "$what"
            said=yes
        fi
        [ $((SECONDS - start)) -lt "$DEADLINE_S" ] || fail NoAddress "$what, for $DEADLINE_S s"
        sleep 1
    done
}

# A serial number of VMware's has the UUID's bytes in vCenter's order; product_uuid may be swapped.
from_serial() {
    local hex
    [ "${1#VMware-}" != "$1" ] || return 1
    hex=$(printf '%s' "${1#VMware-}" | tr -d ' -' | tr 'A-F' 'a-f')
    [[ $hex =~ ^[0-9a-f]{32}$ ]] || return 1
    echo "${hex:0:8}-${hex:8:4}-${hex:12:4}-${hex:16:4}-${hex:20}"
}

bios_uuid() {
    local text
    for text in "$(dmidecode -s system-serial-number 2>/dev/null)" \
        "$(cat "$DMI/product_serial" 2>/dev/null)"; do
        from_serial "$text" && return
    done
    for text in "$(dmidecode -s system-uuid 2>/dev/null)" \
        "$(cat "$DMI/product_uuid" 2>/dev/null)"; do
        text=$(printf '%s' "$text" | tr 'A-F' 'a-f')
        if [[ $text =~ ^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$ ]]; then
            echo "$text"
            return
        fi
    done
    return 1
}

render() {
    local uuid device
    uuid=$(bios_uuid) || fail NoBiosUuid "neither dmidecode nor $DMI tells the UUID of this VM"
    install -d -m 0700 "$RUN"
    sed -e "s|$NODE_IP_MARK|${addresses%%,*}|g" -e "s|$NODE_IPS_MARK|$addresses|g" \
        -e "s|$PROVIDER_ID_MARK|vsphere://$uuid|g" \
        "$CONF/kubeadm.yaml.in" >"$RUN/kubeadm.yaml"
    if [ -e "$MANIFESTS/kube-vip.yaml" ] && ! ip link show dev "$INTERFACE" >/dev/null 2>&1; then
        device=$(default_device "${FAMILIES%% *}")
        [ -n "$device" ] || fail NoInterface "there is no interface $INTERFACE and no default route"
        report PreparingNode "there is no interface $INTERFACE: the virtual address goes to $device"
        sed -i "/name: vip_interface/{n;s/value: .*/value: $device/}" "$MANIFESTS/kube-vip.yaml"
    fi
}

# ask PATH [CURL ARGUMENT...]: HTTP status in $code, body in $RUN/answer.
ask() {
    local path=$1
    shift
    code=$(curl --silent --noproxy '*' --connect-timeout 2 --max-time 5 --cacert "$CONF/ca.crt" \
        --header "@$CONF/authorization" --output "$RUN/answer" --write-out '%{http_code}' \
        "$@" "$SERVER$path")
    curl_exit=$?
}

explain() {
    case $curl_exit:$code in
        0:401) echo "the API does not know this machine's token yet" ;;
        0:403) echo "the founding of the cluster is not complete yet" ;;
        0:404) echo "not there yet" ;;
        0:*) echo "the API answers $code" ;;
        51:* | 60:*) echo "its certificate is not of this cluster's authority" ;;
        6:*) echo "its name cannot be resolved" ;;
        *) echo "no answer" ;;
    esac
}

# wait_until PHASE WHAT CHECK...: once a second; each new answer is reported, never each try.
wait_until() {
    local phase=$1 what=$2 said='' now
    shift 2
    until "$@"; do
        now=$(explain)
        if [ "$now" != "$said" ]; then
            report "$phase" "$SERVER: $what: $now"
            said=$now
        fi
        [ "$SECONDS" -lt "$DEADLINE_S" ] ||
            fail JoinTimedOut "$SERVER: $what: $now, for $DEADLINE_S s"
        sleep 1
    done
}

has_configuration() {
    ask /api/v1/namespaces/kube-system/configmaps/kubeadm-config
    [ "$code" = 200 ]
}

# kubeadm init writes its configuration before the rights of joiners. Kubelet gives up without.
may_join() {
    ask /apis/authorization.k8s.io/v1/selfsubjectaccessreviews \
        --header 'Content-Type: application/json' --data '{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"group":"certificates.k8s.io","resource":"certificatesigningrequests","verb":"create"}}}'
    [ "$code" = 201 ] && grep -q '"allowed": *true' "$RUN/answer" && return
    [ "$code" = 201 ] && code=403
    return 1
}

has_certificates() {
    ask /api/v1/namespaces/kube-system/secrets/kubeadm-certs
    [ "$code" = 200 ]
}

wait_for_endpoint() {
    install -d -m 0700 "$RUN"
    report WaitingForEndpoint "$SERVER"
    wait_until WaitingForEndpoint "kubeadm's configuration" has_configuration
    wait_until WaitingForEndpoint "right to join" may_join
    if [ "$ROLE" = control-plane ]; then
        wait_until WaitingForCertificates "certificates of the control plane" has_certificates
    fi
    rm -f "$RUN/answer"
}

last_errors() {
    local lines
    lines=$(grep -iE 'error|fatal|timed out|could not|couldn.t' "$LOG/kubeadm.log" | tail -n 4)
    printf '%s' "${lines:-$(tail -n 3 "$LOG/kubeadm.log")}"
}

resume() {
    [ -e "$STATE/started" ] || return 0
    if [ "$ROLE" = worker ]; then
        kubeadm reset --force >>"$LOG/kubeadm.log" 2>&1
        return 0
    fi
    if [ -e "$STATE/failed" ]; then
        give_up "$(head -n 1 "$STATE/failed")" "$(tail -n +2 "$STATE/failed")"
    fi
    give_up_for_ever Interrupted "this machine went down while kubeadm ran: delete the machine, another will be made"
}

# kubeadm waits minutes for a kubelet that cannot start, and does not tell: tell in its place.
watch_kubelet() { # PID of kubeadm
    local restarts told='' last
    while kill -0 "$1" 2>/dev/null; do
        sleep 5
        restarts=$(systemctl show --property NRestarts --value kubelet 2>/dev/null)
        case $restarts in '' | *[!0-9]* | 0 | 1 | "$told") continue ;; esac
        told=$restarts
        last=$(journalctl --unit kubelet --output cat --no-pager --lines 50 2>/dev/null |
            grep -E 'err=|^E[0-9]{4}|[Ee]rror|[Ff]ailed to' | grep -v 'kubelet.service' | tail -n 1)
        report RunningKubeadm "kubeadm $MODE; kubelet has ended $restarts times: $last"
    done
}

run_kubeadm() {
    local result running watching arguments=("$MODE" --config "$RUN/kubeadm.yaml")
    if [ "$MODE" = init ]; then
        arguments+=(--skip-token-print)
    fi
    : >"$STATE/started"
    sync -f "$STATE/started"
    report RunningKubeadm "kubeadm $MODE"
    kubeadm "${arguments[@]}" >>"$LOG/kubeadm.log" 2>&1 &
    running=$!
    watch_kubelet "$running" &
    watching=$!
    wait "$running"
    result=$?
    kill "$watching" 2>/dev/null
    wait "$watching" 2>/dev/null
    [ "$result" -eq 0 ] && return
    if [ "$ROLE" = worker ]; then
        fail KubeadmFailed "kubeadm $MODE ended with $result: $(last_errors)"
    fi
    give_up_for_ever KubeadmFailed "kubeadm $MODE ended with $result: $(last_errors)"
}

# What this machine needs no more. The gateway deletes the token itself; the keys of the
# authorities stay where kubeadm wants them, on control planes.
forget_secrets() {
    rm -f "$RUN/kubeadm.yaml" "$RUN/answer" "$CONF/kubeadm.yaml.in" "$CONF/discovery.conf" \
        "$CONF/authorization" "$CONF/ca.crt"
    rm -f "$CLOUD"/*/user-data.txt "$CLOUD"/*/user-data.txt.i "$CLOUD"/*/cloud-config.txt \
        "$CLOUD"/*/obj.pkl
}

install -d -m 0700 "$LOG" "$STATE"
[ -e "$STATE/joined" ] && exit 0
if [ ! -e "$STATE/kubeadm-done" ]; then
    report PreparingNode "Kubernetes $VERSION, $ROLE"
    check_image
    prepare_runtime
    run_commands pre-kubeadm PreKubeadmFailed preKubeadmCommands
    wait_for_address
    resume
    [ "$MODE" = join ] && wait_for_endpoint
    render
    run_kubeadm
    : >"$STATE/kubeadm-done"
fi
run_commands post-kubeadm PostKubeadmFailed postKubeadmCommands
forget_secrets
: >"$STATE/joined"
sync -f "$STATE/joined"
report Joined "$NODE_NAME"
