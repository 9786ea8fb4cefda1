#!/bin/sh
# Tells that a unit failed, or succeeds again: by a command of yours, else by mail, else in the journal as an error.
#
#   on-failure failed|recovered UNIT
#
# Of a unit that keeps failing it tells once, and again after AGAIN_AFTER_HOURS. Its settings are variables, which its
# units take from /etc/microshare-forwarder/on-failure:
#
#   COMMAND            a shell command that is given the message on standard input, and its subject in $SUBJECT
#   MAIL_TO            whom mail goes to: root, unless set
#   AGAIN_AFTER_HOURS  24, unless set
#
# Ends with 1 where the command or the mail program failed: then the message is in the journal, and the next failure
# is told of again.
set -u

what=${1:?failed or recovered} unit=${2:?the name of a unit}
told=${RUNTIME_DIRECTORY:-/run/microshare-forwarder-failed}/$unit
hours=${AGAIN_AFTER_HOURS:-24}
case $hours in '' | *[!0-9]*) hours=24 ;; esac

said_of_the_last_start() {
  # systemd tells it to an OnFailure= unit since 251.
  id=${MONITOR_INVOCATION_ID:-$(systemctl show --property=InvocationID --value "$unit")}
  journalctl --no-pager --quiet --output=cat --lines=100 "_SYSTEMD_INVOCATION_ID=${id:-none}"
}

message() {
  if [ "$what" = recovered ]; then
    echo "$unit on $(uname -n) succeeds again."
    return
  fi
  echo "$unit on $(uname -n) failed. It said:"
  echo
  said_of_the_last_start
  echo
  echo "What it says now:  sudo -u microshare-forwarder microshare-forwarder status"
  echo "What to do:        docs/runbook.md#$unit"
  echo "You are told again after $hours hours of it, and when it succeeds."
}

tell() {
  if [ -n "${COMMAND:-}" ]; then
    sh -c "$COMMAND"
  elif command -v sendmail >/dev/null; then
    { printf 'To: %s\nSubject: %s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n' \
      "$MAIL_TO" "$SUBJECT" && cat; } | sendmail -t -i
  elif command -v mail >/dev/null; then
    mail -s "$SUBJECT" "$MAIL_TO"
  else
    tell_the_journal
    echo "<3>Neither sendmail nor mail is installed; name another way in /etc/microshare-forwarder/on-failure," \
      "like COMMAND='curl --fail --data-binary @- https://example.test/hook'" >&2
  fi
}

# <3> is what makes a line an error to the journal.
tell_the_journal() { sed 's/^/<3>/' >&2; }

[ "$what" = failed ] && [ -n "$(find "$told" -mmin "-$((hours * 60))" 2>/dev/null)" ] && exit 0

MAIL_TO=${MAIL_TO:-root}
SUBJECT="$unit $([ "$what" = recovered ] && echo "succeeds again" || echo "failed") on $(uname -n)"
export MAIL_TO SUBJECT
text=$(message)
if ! printf '%s\n' "$text" | tell; then
  { printf '%s\n' "$text" "This could not be told: what was to tell it failed, see above."; } | tell_the_journal
  exit 1
fi
if [ "$what" = failed ]; then touch "$told"; else rm -f "$told"; fi
