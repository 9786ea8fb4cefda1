#!/usr/bin/env bash
# Installs the forwarder on a VM with systemd, upgrades it, takes it back, and removes it; --help says how.
#
# bash, not sh: Debian and Ubuntu always have it, and its arrays keep names with spaces whole.
#
# shellcheck disable=SC2329 # `step` and `trap` call functions by their names
set -euo pipefail
# The caller's may be stricter: then the account could not read its own release.
umask 022
# What a shell or a user has set for another Python is not for this one.
unset PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK=1

NAME=microshare-forwarder
KEPT=3

usage() {
  cat <<'USAGE'
Installs the Microshare forwarder on Debian 12, Ubuntu 24.04 or 22.04. The same
command with a newer tree upgrades it.

  sudo deploy/vm/install.sh [options]

  --dry-run          show each step; change nothing
  --python PATH      the Python to use, 3.11 to 3.13; else the first that fits
                     of python3, python3.13, python3.12, python3.11
  --wheel FILE       install this wheel; else one of --wheelhouse, else the tree
                     that this script lies in
  --sha256 HASH      with --wheel: install it only if this is its hash
  --wheelhouse DIR   take all packages from this folder, none from a registry
  --enable           turn the timers on if `check` succeeds
  --take-over DIR    take .env and state of the forwarder in DIR, which is only
                     read; it shows what, and asks
  --state DIR        with --take-over: the folder of its state, if not found
  --rollback [NAME]  go back to the release before the one in use, or to the one
                     that is named
  --uninstall        remove units and releases; settings and state stay
  --purge            with --uninstall: remove settings, state and account, too;
                     asks
  --yes              do not ask
  --root DIR         work below DIR, not /; for tests. systemctl is not called
                     then, unless SYSTEMCTL names one

It ends with 0; with 1 where something was not done, and says what to do; with 2
where an option is wrong. Releases are in /opt/microshare-forwarder, settings in
/etc/microshare-forwarder, state in /var/lib/microshare-forwarder. The guide is
docs/install-vm.md.
USAGE
}

say() { printf '%s\n' "$@"; }
die() { printf 'install.sh: %s\n' "$1" >&2; exit 1; }
refuse() { printf 'install.sh: %s; --help lists the options\n' "$*" >&2; exit 2; }

# step WHAT COMMAND...: say what is done, and do it unless this is a dry run.
step() {
  say "- $1"
  changed=yes
  [ -n "$dry_run" ] || "${@:2}"
}

agreed() {
  [ -z "$yes$dry_run" ] || return 0
  [ -t 0 ] || die "$1 There is nobody to ask; call it again with --yes, or look first with --dry-run"
  local answer
  read -r -p "$1 [y/N] " answer
  [[ $answer == [yY]* ]] || die "nothing was changed"
}

# --- what is there --------------------------------------------------------------------------------------

in_os_release() { sed -n "s/^$1=\"\{0,1\}\([^\"]*\).*/\1/p" "$ROOT/etc/os-release" 2>/dev/null || true; }

# Give "MINOR PATH" of a Python, like "11 /usr/bin/python3.11"; nothing where it does not run.
described_python() {
  "$1" -c 'import os, sys; print(sys.version_info[1], os.path.realpath(sys.executable))' 2>/dev/null || true
}

fits() { [ "$1" -ge 11 ] && [ "$1" -le 13 ]; }

has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

how_to_get_python() {
  case "$(in_os_release ID) $(in_os_release VERSION_ID)" in
    "ubuntu 22.04")
      say "Python 3.10 of Ubuntu 22.04 is too old, 3.11 is in universe: sudo add-apt-repository universe && sudo apt-get update && sudo apt-get install python3.11 python3.11-venv" ;;
    ubuntu*) say "sudo add-apt-repository universe && sudo apt-get update && sudo apt-get install python3 python3-venv" ;;
    debian*) say "sudo apt-get update && sudo apt-get install python3 python3-venv" ;;
    *) say "install Python 3.11, 3.12 or 3.13 with its module venv" ;;
  esac
}

find_python() {
  local candidate minor path seen=""
  local -a candidates=(python3 python3.13 python3.12 python3.11)
  [ -z "$python" ] || candidates=("$python")
  for candidate in "${candidates[@]}"; do
    read -r minor path <<<"$(described_python "$candidate")"
    [ -n "$minor" ] || continue
    seen+="${seen:+, }$path is 3.$minor"
    fits "$minor" || continue
    if ! has_venv "$path"; then
      seen+=" without venv (sudo apt-get install python3.$minor-venv)"
      continue
    fi
    PYTHON=$path PYTHON_VERSION=3.$minor
    case "$path" in
      /home/* | /root/* | /run/user/*)
        local place="$path: it is in a home, where the account and the units cannot read"
        [ -n "$ROOT" ] || die "$place; name one in /usr or /opt with --python"
        say "note: $place" ;;
    esac
    return
  done
  [ -z "$python" ] || die "--python $python: ${seen:-it does not run}; name a Python 3.11, 3.12 or 3.13 with venv"
  die "no Python 3.11, 3.12 or 3.13 with venv was found (${seen:-none at all}); $(how_to_get_python); then call this again. Or name one with --python PATH"
}

# Set SOURCE, what pip installs, and VERSION.
find_source() {
  local -a wheels=()
  [ -z "$wheelhouse" ] || [ -d "$wheelhouse" ] || die "--wheelhouse $wheelhouse: it is not a folder; name the one with the wheels"
  if [ -z "$wheel" ] && [ -n "$wheelhouse" ]; then
    mapfile -t wheels < <(compgen -G "$wheelhouse/microshare_forwarder-*.whl")
    [ ${#wheels[@]} -le 1 ] || die "$wheelhouse: it has ${#wheels[@]} wheels of the forwarder; name one of them with --wheel"
    wheel=${wheels[0]:-}
  fi
  if [ -n "$wheel" ]; then
    [ -f "$wheel" ] || die "--wheel $wheel: it is not a file; name the wheel that \`make wheel\` builds in dist/"
    SOURCE=$(realpath "$wheel")
    VERSION=${SOURCE##*/microshare_forwarder-}
    [ "$VERSION" != "$SOURCE" ] || die "--wheel $wheel: its name does not begin with microshare_forwarder-; name the wheel that \`make wheel\` builds in dist/"
    VERSION=${VERSION%%-*}
    [ -z "$sha256" ] || [ "$(hash_of "$SOURCE")" = "${sha256,,}" ] || die "$SOURCE: its hash is $(hash_of "$SOURCE"), not $sha256; fetch the wheel again, and see where that hash is from"
  else
    SOURCE=$(realpath "$HERE/../..")
    [ -f "$SOURCE/pyproject.toml" ] || die "$SOURCE: it is not the forwarder's tree; call the install.sh of one, or name a wheel with --wheel"
    VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$SOURCE/pyproject.toml")
  fi
  [ -d "$HERE/units" ] || die "$HERE/units: it is missing; copy the whole folder deploy/vm of the tree"
}

# Set LOCK, the list of all packages with the hashes of their files, as far as one goes with SOURCE: that of a folder
# of wheels lies in it, as some may have been built there; that of a wheel next to it, or in a tree of its version.
find_lock() {
  local folder of_tree=$HERE/../..
  local -a folders=("$wheelhouse")
  if [ -z "$wheelhouse" ] && [ -d "$SOURCE" ]; then
    folders=("$SOURCE")
  elif [ -z "$wheelhouse" ]; then
    folders=("$(dirname "$SOURCE")")
    ! grep -qsxF "version = \"$VERSION\"" "$of_tree/pyproject.toml" || folders+=("$(realpath "$of_tree")")
  fi
  for folder in "${folders[@]}"; do
    LOCK=$folder/requirements$extra.lock
    [ ! -f "$LOCK" ] || return 0
  done
  LOCK=
}

hashes() { if [ -n "$LOCK" ]; then say "by the hashes in $LOCK"; else say "without hashes of packages"; fi; }

hash_of() { sha256sum <"$1" | cut -c -64; }

# All that a release is made of, as one text: another one makes another release.
fingerprint() {
  local -a parts=("$SOURCE" ${LOCK:+"$LOCK"})
  if [ -d "$SOURCE" ]; then
    mapfile -t parts < <(sed -n 's/^"\(.*\)" = "microshare_forwarder.*/\1/p' "$SOURCE/pyproject.toml")
    parts=("$SOURCE/pyproject.toml" "$SOURCE"/*.lock "${parts[@]/#/$SOURCE/}" ${LOCK:+"$LOCK"})
  fi
  {
    say "$PYTHON $PYTHON_VERSION $extra"
    find "${parts[@]}" "$HERE/units" "$HERE/install.sh" -type f -not -name '*.pyc' -print0 | sort -zu | xargs -0 sha256sum | cut -c -64
  } | sha256sum | cut -c -64
}

current() { readlink "$BASE/current" 2>/dev/null | sed 's,^releases/,,' || true; }

# The releases that are complete, the one that was installed last first.
releases() {
  [ -d "$RELEASES" ] || return 0
  (cd "$RELEASES" && compgen -G '*/.fingerprint' | xargs -r ls -t | sed 's,/.*,,') || true
}

account() {
  if [ -n "$ROOT" ]; then grep "^$NAME:" "$ROOT/etc/passwd" 2>/dev/null; else getent passwd "$NAME"; fi | cut -d : -f 3,4 || true
}

# --- the account's side ---------------------------------------------------------------------------------

# Call a command of a release as the account, with the settings that the units have.
as_account() {
  local -a call=(env -i "PATH=$PATH" "HOME=$STATE" LANG=C.UTF-8 "XDG_CONFIG_HOME=$ROOT/etc")
  if [ -n "$ROOT" ]; then call+=("STATE_DIR=$STATE"); else call=(runuser -u "$NAME" -- "${call[@]}"); fi
  (cd / && "${call[@]}" "$@")
}

# Print what `check --offline` of a release says, and end as it does.
check_offline() { as_account "$RELEASES/$1/bin/$NAME" check --offline 2>&1; }

# A release takes over only if it runs, and finds no more wrong than the one in use does.
try_release() {
  local release=$1 used said status=0 status_of_used=0
  used=$(current)
  said=$(as_account "$RELEASES/$release/bin/$NAME" --version 2>&1) \
    || die "$RELEASES/$release: its command does not run: ${said##*$'\n'}; $(still "$used")"
  said=$(check_offline "$release") || status=$?
  if [ "$status" = 0 ]; then return; fi
  if [ -n "$used" ] && [ "$used" != "$release" ]; then
    check_offline "$used" >/dev/null || status_of_used=$?
    [ "$status" -le "$status_of_used" ] || die "$release finds something wrong in settings or state that $used does not, so $(still "$used"). It says:
$said"
  fi
  if has_settings "$ETC/env"; then say "note: \`check --offline\` of $release says:" "$said"; fi
}

still() { if [ -n "$1" ]; then say "$1 stays in use"; else say "nothing is in use yet"; fi; }

# --- steps of an installation ---------------------------------------------------------------------------

# State is the account's. Settings it may only read: systemd reads some of them as root, so that who could
# replace one by a link could read any file.
give() { if [ "$(id -u)" = 0 ]; then chown -Rh "$(account)" "$1"; fi; }
let_read() { if [ "$(id -u)" = 0 ]; then chown -h "0:$(account | cut -d : -f 2)" "$1"; fi; }

make_settings_folder() { install -d -m 750 "$ETC" && let_read "$ETC"; }
make_state_folder() { install -d -m 700 "$STATE" && give "$STATE"; }

# Write standard input to the file of settings.
write_env() {
  install -m 640 /dev/null "$ETC/.env.new"
  cat >"$ETC/.env.new"
  let_read "$ETC/.env.new"
  mv -T "$ETC/.env.new" "$ETC/env"
}

write_empty_env() {
  write_env <<<"# Settings of $NAME: \`sudo $NAME init\` writes them; a line is NAME='value'."
}

prepare() {
  local owner
  [ -n "$(account)" ] || step "account $NAME: make it, without a login" \
    useradd ${ROOT:+--prefix "$ROOT"} --system --user-group --home-dir "/var/lib/$NAME" --no-create-home --shell /usr/sbin/nologin "$NAME"
  [ -d "$ETC" ] || step "$ETC: make it, for the account to read" make_settings_folder
  [ -d "$STATE" ] || step "$STATE: make it, for the account alone" make_state_folder
  if [ -d "$STATE" ] && [ -n "$(account)" ]; then
    owner=$(stat -c %u "$STATE")
    if [ "$owner" != "$(account | cut -d : -f 1)" ] && [ "$(id -u)" = 0 ]; then
      [ -n "$take_over" ] || die "$STATE: it belongs to $(stat -c %U "$STATE"), an earlier forwarder's account? Stop that one and call this with --take-over FOLDER, where FOLDER has its .env; or give it to the account: sudo chown -R $NAME: $STATE"
      step "$STATE: give it to the account $NAME" give "$STATE"
    fi
  fi
}

# Packages for TELEMETRY=azure-monitor, where that is set, or the release in use has them.
wants_telemetry() {
  grep -qsE "^[[:space:]]*(export[[:space:]]+)?TELEMETRY=['\"]?azure-monitor" "$ETC/env" \
    || compgen -G "$BASE/current/lib/python*/site-packages/azure/monitor" >/dev/null
}

build() {
  local to=$1 said
  local -a packages=(--no-cache-dir)
  [ -z "$wheelhouse" ] || packages+=(--no-index --find-links "$wheelhouse")
  building=$to
  rm -rf "$to"
  mkdir -p "$to"
  "$PYTHON" -m venv "$to" || die "$to: no virtual environment could be made with $PYTHON; $(still "$(current)")"
  if [ -n "$LOCK" ]; then
    # The same files everywhere; what the lock does not have is not fetched without a hash.
    "$to/bin/python" -m pip install --quiet "${packages[@]}" --require-hashes -r "$LOCK" \
      || die "$LOCK: pip could not install what it lists, see above; where no registry is reached, name a folder of wheels with --wheelhouse; $(still "$(current)")"
    packages+=(--no-deps)
  fi
  "$to/bin/python" -m pip install --quiet "${packages[@]}" "$SOURCE${extra:+[telemetry]}" \
    || die "$SOURCE: pip could not install it, see above; where no registry is reached, name a folder of wheels with --wheelhouse; $(still "$(current)")"
  if [ -n "$LOCK" ]; then
    said=$("$to/bin/python" -m pip check) || die "$LOCK: it is not the one of $SOURCE: $said; take both of one release; $(still "$(current)")"
  fi
  cp -R "$HERE/units" "$HERE/install.sh" "$to/"
  say "$print" >"$to/.fingerprint"
  building=
}

# Set RELEASE to the one that holds what is to be installed, and build it where there is none.
provide_release() {
  local number=1 at
  if wants_telemetry; then extra=-telemetry; fi
  find_lock
  print=$(fingerprint)
  RELEASE=$VERSION
  while at=$RELEASES/$RELEASE && [ -f "$at/.fingerprint" ]; do
    if [ "$(<"$at/.fingerprint")" = "$print" ] && "$at/bin/$NAME" --version >/dev/null 2>&1; then
      [ "$RELEASE" = "$(current)" ] || step "$at: it is there already" touch "$at/.fingerprint"
      return
    fi
    # The same version with other content: what is there may be in use, so it stays as it is.
    number=$((number + 1))
    RELEASE=$VERSION.$number
  done
  step "$at: install $VERSION${extra:+ with packages for telemetry} from $SOURCE${wheelhouse:+, packages from $wheelhouse}, $(hashes), with $PYTHON" build "$at"
}

unit_files() { find "$1" -maxdepth 1 -type f \( -name '*.service' -o -name '*.timer' \) -printf '%f\n' 2>/dev/null | sort; }

sum_of() { printf '%s %s\n' "$(hash_of "$1")" "${1##*/}"; }

# Those that an installation wrote, as it noted.
installed_units() { if [ -f "$BASE/units" ]; then cut -d ' ' -f 2 "$BASE/units"; fi; }

# The units of a release; one that was edited in place is kept next to the new one.
install_units() {
  local folder=$1 unit to sums=""
  for unit in $(unit_files "$folder"); do
    to=$UNITS/$unit
    sums+="$(sum_of "$folder/$unit")"$'\n'
    if ! cmp -s "$folder/$unit" "$to"; then
      if [ -f "$to" ] && ! grep -qxF "$(sum_of "$to")" "$BASE/units" 2>/dev/null; then
        step "$to: keep what is there as $unit.before; changes of yours belong into \`systemctl edit $unit\`" cp -p "$to" "$to.before"
      fi
      step "$to: write it" install -D -m 644 "$folder/$unit" "$to"
      reload=yes
    fi
  done
  for unit in $(installed_units); do
    [ -f "$folder/$unit" ] || remove_unit "$unit"
  done
  if [ -z "$dry_run" ]; then printf '%s' "$sums" >"$BASE/units"; fi
}

remove_unit() {
  case "$1" in *@.service) ;; *) step "$1: turn it off" ctl_if_known disable --now "$1" ;; esac
  step "$UNITS/$1: remove it" rm -f "$UNITS/$1"
  reload=yes
}

ctl() {
  if [ -n "${SYSTEMCTL:-}" ]; then
    "$SYSTEMCTL" "$@"
  elif [ -n "$ROOT" ] || [ ! -d /run/systemd/system ]; then
    say "  systemd does not run here: systemctl $* was left out"
  else
    systemctl "$@"
  fi
}

# A unit that was never on, or is gone, is no reason to stop half way.
ctl_if_known() { ctl "$@" 2>/dev/null || true; }

point_current() {
  ln -sfn "releases/$1" "$BASE/.current"
  mv -T "$BASE/.current" "$BASE/current"
}

# From here on each new run is one of that release; a run under way ends with its own.
switch_to() {
  local release=$1 units=$RELEASES/$1/units target=/opt/$NAME/current/bin/$NAME
  reload=
  [ -d "$units" ] || units=$HERE/units
  [ "$(current)" = "$release" ] || step "$BASE/current: let it lead to releases/$release" point_current "$release"
  if [ "$(readlink "$LINK" || true)" != "$target" ]; then
    [ ! -e "$LINK" ] || [ -L "$LINK" ] || die "$LINK: it is there and not ours; move it away, and call this again"
    step "$LINK: let it lead to $target" link_command "$target"
  fi
  install_units "$units"
  [ -z "$reload" ] || step "systemd: read the units again" ctl daemon-reload
}

link_command() { mkdir -p "${LINK%/*}" && ln -sfn "$1" "$LINK"; }

remove_old_releases() {
  local release kept=0 used
  used=$(current)
  for release in $(releases); do
    kept=$((kept + 1))
    [ "$kept" -le "$KEPT" ] || [ "$release" = "$used" ] || step "$RELEASES/$release: remove it, $KEPT are kept" rm -rf "${RELEASES:?}/$release"
  done
  for release in "$RELEASES"/*/; do
    [ ! -d "$release" ] || [ -f "$release.fingerprint" ] || step "$release: remove it, its installation was cut off" rm -rf "$release"
  done
}

# --- taking over ----------------------------------------------------------------------------------------

has_settings() { [ -f "$1" ] && grep -qE '^[[:space:]]*[^#[:space:]]' "$1"; }

# The files of a state, of any version: each has the time up to which it was fetched.
state_files() { grep -lsE '"last_fetch_time(stamp)?"' "$1"/*.json || true; }

# Set EARLIER_STATE, empty where there is none.
find_earlier_state() {
  local place named
  named=$(sed -nE "s/^[[:space:]]*(export[[:space:]]+)?STATE_DIR=['\"]?([^'\"#]*[^'\"# ]).*/\2/p" "$take_over/.env" 2>/dev/null | tail -n 1)
  local -a places=("$take_over/state" "$take_over")
  [ -z "$named" ] || places=("$named")
  [ -z "$earlier_state" ] || places=("$earlier_state")
  EARLIER_STATE=
  for place in "${places[@]}"; do
    [ -n "$(state_files "$place")" ] || continue
    [ -z "$EARLIER_STATE" ] || die "both $EARLIER_STATE and $place have a state; name the one that is up to date with --state"
    EARLIER_STATE=$place
  done
  # Where it kept its state if nothing else was said.
  [ -n "$EARLIER_STATE$named$earlier_state" ] || [ -z "$(state_files "$STATE")" ] || EARLIER_STATE=$STATE
  [ -z "$earlier_state" ] || [ -n "$EARLIER_STATE" ] || die "--state $earlier_state: no state of a forwarder is there; name the folder of peoplecounterstate.json"
}

# A state that was taken and not used since may be taken again: the earlier forwarder may have gone on.
state_is_free() {
  [ -z "$(state_files "$STATE")" ] || (cd "$STATE" && sha256sum --check --status .taken-over 2>/dev/null)
}

take_settings() {
  sed -E "s,^[[:space:]]*(export[[:space:]]+)?STATE_DIR=,# the state is in $STATE now; it was: &," "$take_over/.env" | write_env
}

take_state() {
  local file name
  for file in "$EARLIER_STATE"/{history,quarantine,backups}; do
    if [ -d "$file" ]; then cp -R --no-dereference "$file" "$STATE/"; fi
  done
  for file in $(state_files "$EARLIER_STATE"); do
    name=${file##*/}
    for part in "$name" "$name.bak" "$name.earlier"; do
      if [ -f "$EARLIER_STATE/$part" ]; then
        cp "$EARLIER_STATE/$part" "$STATE/.$part.new"
        mv -T "$STATE/.$part.new" "$STATE/$part"
      fi
    done
  done
  (cd "$STATE" && state_files . | xargs -r sha256sum >.taken-over)
  chmod -R u=rwX,go= "$STATE"
  give "$STATE"
}

# What starts the forwarder in that folder, as far as systemd and cron say.
what_starts() {
  grep -lsrwF -- "$1" "$UNITS" "$ROOT/etc/crontab" "$ROOT/etc/cron.d" "$ROOT/var/spool/cron" | sort || true
}

plan_take_over() {
  local file
  [ -d "$take_over" ] || die "--take-over $take_over: it is not a folder; name the earlier forwarder's, with its .env"
  take_over=$(realpath "$take_over")
  find_earlier_state
  say "From $take_over, which is only read:"
  if [ ! -f "$take_over/.env" ]; then
    say "  settings: it has no .env; $([ ! -f "$take_over/local.settings.json" ] || say "those in local.settings.json are the Functions host's, ")enter them with \`init\`"
  elif has_settings "$ETC/env"; then
    say "  settings: not taken, $ETC/env has some already; move it away to take them"
  else
    take_env=yes
    say "  settings: $take_over/.env, copied to $ETC/env; STATE_DIR is left out, if it is there"
  fi
  if [ -f "$take_over/config.yaml" ] && [ -f "$SOURCE/config.yaml" ] && ! cmp -s "$take_over/config.yaml" "$SOURCE/config.yaml"; then
    say "  config.yaml: not taken, it differs from this release's. If the differences are yours, put them into a copy of the new one, $ETC/config.yaml: diff $take_over/config.yaml $SOURCE/config.yaml"
  fi
  if [ -z "$EARLIER_STATE" ]; then
    say "  state: none was found; if it is in files elsewhere, name their folder with --state. In tables it stays where it is"
  elif [ "$EARLIER_STATE" -ef "$STATE" ]; then
    say "  state: it stays in $STATE, and is given to the account $NAME"
  elif state_is_free; then
    take_files=yes
    for file in $(state_files "$EARLIER_STATE"); do say "  state: $file, copied to $STATE"; done
  else
    say "  state: not taken, $STATE has one already; to take $EARLIER_STATE all the same, move that away"
  fi
  say "Stop the earlier forwarder first, or two of them send; if it was on, call this again after that."
  what_starts "$take_over" | while read -r file; do
    if [ -f "$HERE/units/${file##*/}" ]; then
      say "  it is named in $file; this release's unit of that name takes its place"
    else
      say "  it is named in $file: turn that off"
    fi
  done
  agreed "Take this over?"
}

do_take_over() {
  [ -z "$take_env" ] || step "$ETC/env: write the settings of $take_over/.env" take_settings
  [ -z "$take_files" ] || step "$STATE: copy the state of $EARLIER_STATE" take_state
}

# --- what each call does --------------------------------------------------------------------------------

timers() { unit_files "$HERE/units" | grep -E '@.+\.timer$|-status\.timer$'; }

timers_on() { compgen -G "$UNITS/timers.target.wants/$NAME@*.timer" >/dev/null; }

tell_next() {
  local command="sudo -u $NAME $NAME"
  say "" "$RELEASE is in use. Next:"
  if ! has_settings "$ETC/env"; then
    say "  sudo $NAME init           # asks for the settings, tries each, and writes $ETC/env"
  fi
  if timers_on; then
    say "  $command status           # the timers are on: the next run is one of this release"
    return
  fi
  say "  $command check            # says of each thing that it is right, or what to do"
  say "  $command run all          # a first run, by hand"
  say "  sudo systemctl enable --now $(timers | tr '\n' ' ')"
}

enable_timers() {
  local -a on
  mapfile -t on < <(timers)
  if ! as_account "$BASE/current/bin/$NAME" check; then
    say "" "$RELEASE is in use; the timers were not turned on, since check finds something wrong. Do what it says, and call this again."
    exit 1
  fi
  step "timers: turn on ${on[*]}" ctl enable --now "${on[@]}"
}

install_release() {
  find_python
  find_source
  say "$NAME $VERSION from $SOURCE, with $PYTHON (Python $PYTHON_VERSION), on $(in_os_release PRETTY_NAME)"
  [ -z "$take_over" ] || plan_take_over
  prepare
  provide_release
  [ -z "$take_over" ] || do_take_over
  [ -f "$ETC/env" ] || [ -n "$take_env" ] || step "$ETC/env: write it, without settings" write_empty_env
  [ -n "$dry_run" ] || try_release "$RELEASE"
  switch_to "$RELEASE"
  remove_old_releases
  [ -n "$changed" ] || say "Nothing was to be done."
  [ -n "$dry_run" ] || finish
}

finish() { if [ -n "$enable" ]; then enable_timers; else tell_next; fi; }

roll_back() {
  local used to=$rollback_to kept
  used=$(current)
  [ -n "$used" ] || die "$BASE/current: no release is in use; install one first"
  kept=$(releases | tr '\n' ' ')
  if [ -z "$to" ]; then
    to=$(releases | grep -xFA1 -- "$used" | sed -n 2p)
    [ -n "$to" ] || die "$used is the earliest release that is kept; nothing was changed. Kept are: $kept"
  fi
  [ -f "$RELEASES/$to/.fingerprint" ] || die "--rollback $to: it is not kept; name one of: $kept"
  [ "$to" != "$used" ] || die "--rollback $to: it is in use; name another of: $kept"
  try_release "$to"
  switch_to "$to"
  [ -n "$dry_run" ] || say "" "$to is in use, $used before; settings and state are as they were. To go forward again: --rollback $used"
}

uninstall() {
  local unit
  reload=
  if [ -n "$purge" ]; then agreed "Remove the settings in $ETC, the state in $STATE and the account $NAME, for good?"; fi
  for unit in $(installed_units); do remove_unit "$unit"; done
  [ -z "$reload" ] || step "systemd: read the units again" ctl daemon-reload
  [ "$(readlink "$LINK" || true)" != "/opt/$NAME/current/bin/$NAME" ] || step "$LINK: remove it" rm -f "$LINK"
  [ ! -d "$RELEASES" ] || step "$RELEASES: remove all releases" rm -rf "$RELEASES" "$BASE/current" "$BASE/units"
  if [ -z "$dry_run" ]; then rm -f "$BASE/.lock" && { rmdir "$BASE" 2>/dev/null || true; }; fi
  if [ -n "$purge" ]; then
    step "$ETC: remove it" rm -rf "$ETC"
    step "$STATE: remove it" rm -rf "$STATE"
    [ -z "$(account)" ] || step "account $NAME: remove it" userdel ${ROOT:+--prefix "$ROOT"} "$NAME"
    return
  fi
  say "" "Settings are still in $ETC, the state in $STATE; the account $NAME owns both." \
    "An installation goes on from them; --uninstall --purge removes them, too."
}

# --- the call -------------------------------------------------------------------------------------------

clean_up() {
  if [ -n "$building" ]; then
    rm -rf "$building"
    say "$building: what was begun there was removed" >&2
  fi
}

need_value() { [ -n "${2:-}" ] || refuse "$1: it needs a value"; }

main() {
  local do=install
  HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
  ROOT='' RELEASE='' EARLIER_STATE='' SOURCE='' VERSION='' LOCK='' PYTHON='' PYTHON_VERSION=''
  dry_run='' python='' wheel='' sha256='' wheelhouse='' enable='' take_over='' earlier_state='' rollback_to='' purge='' yes=''
  building='' changed='' reload='' print='' extra='' take_env='' take_files=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --help | -h) usage; exit ;;
      --dry-run) dry_run=yes ;;
      --yes | -y) yes=yes ;;
      --enable) enable=yes ;;
      --purge) purge=yes ;;
      --uninstall) do=uninstall ;;
      --rollback)
        do=rollback
        if [[ -n ${2:-} && ${2:-} != -* ]]; then rollback_to=$2; shift; fi ;;
      --python) need_value "$@"; python=$2; shift ;;
      --wheel) need_value "$@"; wheel=$2; shift ;;
      --sha256) need_value "$@"; sha256=$2; shift ;;
      --wheelhouse) need_value "$@"; wheelhouse=$2; shift ;;
      --take-over) need_value "$@"; take_over=$2; shift ;;
      --state) need_value "$@"; earlier_state=$2; shift ;;
      --root) need_value "$@"; ROOT=$2; shift ;;
      *) refuse "$1: it is not an option" ;;
    esac
    shift
  done
  [ -z "$purge" ] || [ "$do" = uninstall ] || refuse "--purge: it goes with --uninstall"
  [ -z "$sha256" ] || [ -n "$wheel" ] || refuse "--sha256: it goes with --wheel"
  [ -z "$earlier_state" ] || [ -n "$take_over" ] || refuse "--state: it goes with --take-over"
  if [ -n "$ROOT" ]; then
    [ -d "$ROOT" ] || die "--root $ROOT: it is not a folder; make it first"
    ROOT=$(realpath "$ROOT")
  elif [ "$(id -u)" != 0 ] && [ -z "$dry_run" ]; then
    die "it needs root's rights; call it with sudo"
  fi
  BASE=$ROOT/opt/$NAME RELEASES=$ROOT/opt/$NAME/releases ETC=$ROOT/etc/$NAME STATE=$ROOT/var/lib/$NAME
  UNITS=$ROOT/etc/systemd/system LINK=$ROOT/usr/local/bin/$NAME
  if [ -n "$dry_run" ]; then
    say "Nothing is changed (--dry-run). What would be done:"
  else
    trap clean_up EXIT
    mkdir -p "$BASE"
    exec 9>"$BASE/.lock"
    flock -n 9 || die "$BASE/.lock: another install.sh is at work; wait until it has ended"
  fi
  case "$do" in
    install) install_release ;;
    rollback) roll_back ;;
    uninstall) uninstall ;;
  esac
}

# The whole is read before anything is done: a removed release takes its own copy of this with it.
main "$@"
exit
