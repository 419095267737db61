"""Programs that are known by name: which of their words are paths, what they do to them, which carry another command. Data, and pure."""

from __future__ import annotations

from typing import NamedTuple

from cc_orchestrator.policy.acts import Action


class Habit(NamedTuple):
    """What a program does to its plain words. `skip`: leading words that are no paths. `last`: what it does to the last one.

    `with_value`: options whose next word is a value; `out`: options whose value is a path that is written.
    """

    action: Action
    skip: int = 0
    last: Action | None = None
    with_value: frozenset[str] = frozenset()
    out: frozenset[str] = frozenset()


_NONE: frozenset[str] = frozenset()


def _opts(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SEARCH = _opts(
    "-e -f -A -B -C -m -g -t -T --glob --type --include --exclude --exclude-dir --regexp --max-count --context"
)
READ = Habit("read")
#: Programs whose plain words are files that they read, write or delete.
HABITS: dict[str, Habit] = {
    **dict.fromkeys(("cat", "wc", "ls", "file", "stat", "du", "tree", "diff", "cmp", "uniq", "nl", "realpath", "readlink", "sha256sum", "sha1sum",
                     "md5sum", "less", "more", "tac", "rev", "strings", "xxd", "hexdump", "od", "base64", "column", "comm", "join", "paste",
                     "fold", "expand", "zcat", "gunzip", "lsof", "df", "dir", "bat", "eza", "exa"), READ),
    **dict.fromkeys(("head", "tail"), Habit("read", with_value=_opts("-n -c --lines --bytes"))),
    **dict.fromkeys(("grep", "egrep", "fgrep", "rg", "ag", "ack"), Habit("read", skip=1, with_value=_SEARCH)),
    **dict.fromkeys(("awk", "gawk", "mawk", "jq", "yq"), Habit("read", skip=1, with_value=_opts("-F -v --arg --argjson"))),
    "cut": Habit("read", with_value=_opts("-d -f -c -b")), "tr": Habit("read", skip=9), "seq": Habit("read", skip=9),
    "sort": Habit("read", with_value=_opts("-k -t -S -T --key"), out=_opts("-o --output")),
    "fd": Habit("read", skip=1), "basename": Habit("read", skip=9), "dirname": Habit("read", skip=9),
    "cp": Habit("read", last="write"), "mv": Habit("delete", last="write"), "install": Habit("read", last="write", with_value=_opts("-m -o -g")),
    "ln": Habit("read", last="write"), "rm": Habit("delete"), "rmdir": Habit("delete"), "unlink": Habit("delete"), "shred": Habit("delete"),
    "mkdir": Habit("write", with_value=_opts("-m --mode")), "touch": Habit("write", with_value=_opts("-d -t -r --date --reference")),
    "truncate": Habit("write", with_value=_opts("-s --size -r")), "tee": Habit("write"), "mkfifo": Habit("write"), "patch": Habit("write"),
    "chmod": Habit("write", skip=1), "chown": Habit("write", skip=1), "chgrp": Habit("write", skip=1), "setfacl": Habit("write", skip=1),
    "split": Habit("read", last="write"), "unzip": Habit("read", out=_opts("-d")), "zip": Habit("write"), "gzip": Habit("write"),
    "bzip2": Habit("write"), "xz": Habit("write"), "zstd": Habit("write"), "dd": Habit("read"), "ex": Habit("write"), "ed": Habit("write"),
    "vi": Habit("write"), "vim": Habit("write"), "nano": Habit("write"), "emacs": Habit("write"), "mktemp": Habit("read", skip=9),
    "source": Habit("read"), ".": Habit("read"),
}  # fmt: skip
#: Options by which a reader runs something or writes.
RUNS = {
    "rg": _opts("--pre --hostname-bin"), "fd": _opts("-x -X --exec --exec-batch"), "sort": _opts("--compress-program"),
    "awk": _NONE, "tree": _NONE, "less": _NONE,
}  # fmt: skip
#: Words that change nothing that outlives the shell.
IDLE = _opts(
    "true false : echo printf pwd date which type sleep wait exit return test [ export local declare readonly typeset unset ulimit umask shift "
    "read hash history jobs fg bg hostname uname whoami id groups uptime nproc free ps top pgrep env-list locale tty clear yes times getopts "
    "dirs popd break continue printenv env cal arch sw_vers getconf logname"
)
#: Programs that run the command behind them; the number of plain words of their own before it.
CARRIERS = {
    "nohup": 0, "nice": 0, "ionice": 0, "time": 0, "timeout": 1, "stdbuf": 0, "setsid": 0, "command": 0, "builtin": 0, "exec": 0, "xargs": 0,
    "taskset": 1, "chrt": 1, "unbuffer": 0, "caffeinate": 0, "xvfb-run": 0, "doas": 0, "sudo": 0, "pkexec": 0, "watch": 0, "strace": 0,
    "ltrace": 0, "flock": 1, "chronic": 0, "faketime": 1, "dbus-run-session": 0, "fakeroot": 0, "unshare": 0, "nsenter": 0, "chroot": 1,
    "runuser": 0, "setpriv": 0, "uvx": 0, "npx": 0, "pipx": 1, "bunx": 0,
}  # fmt: skip
CARRIER_VALUES = {
    "nice": _opts("-n"), "ionice": _opts("-c -n -p"), "timeout": _opts("-k -s --kill-after --signal"), "stdbuf": _NONE,
    "xargs": _opts("-n -P -I -L -d -a -s -E --max-args --max-procs --replace --delimiter"), "sudo": _opts("-u -g -C -h -p -U -r -t"),
    "doas": _opts("-u -C"), "watch": _opts("-n --interval"), "strace": _opts("-o -e -p -s"), "taskset": _NONE, "exec": _opts("-a"),
    "time": _opts("-f -o"), "flock": _opts("-w"), "uvx": _opts("--from --with -p --python"), "npx": _opts("-p --package"),
}  # fmt: skip
PRIVILEGED = _opts(
    "sudo doas pkexec su runuser systemctl service launchctl crontab at batch mount umount swapon swapoff shutdown reboot halt poweroff init "
    "iptables nft ufw sysctl modprobe insmod rmmod useradd userdel usermod groupadd passwd chpasswd visudo chroot nsenter unshare setcap "
    "loginctl schtasks reg sc netsh defaults diskutil parted fdisk mkfs losetup cryptsetup"
)
NETWORK = _opts(
    "curl wget http https xh aria2c nc ncat netcat telnet ftp sftp ssh scp rsync ping traceroute dig nslookup host whois socat openssl rclone "
    "s3cmd aws gcloud gsutil az doctl heroku vercel netlify flyctl fly wrangler firebase supabase docker podman nerdctl kubectl helm terraform "
    "tofu pulumi ansible ansible-playbook vagrant psql mysql mongosh redis-cli gh glab hub mail sendmail mutt ngrok cloudflared tailscale"
)
SIGNALS = _opts("kill pkill killall fuser skill xkill taskkill tkill")
SHELLS = _opts("sh bash zsh dash ksh ash fish")
#: Interpreters, and the options by which they take a program text on the spot.
INTERPRETERS = {
    **dict.fromkeys(("python", "python2", "python3", "pypy", "pypy3"), _opts("-c")), "node": _opts("-e -p --eval --print"),
    "deno": _opts("eval"), "bun": _opts("-e --eval"), "ruby": _opts("-e"), "perl": _opts("-e -E -ne -pe -pi -i -n -p"), "php": _opts("-r"),
    "lua": _opts("-e"), "osascript": _opts("-e"), "pwsh": _opts("-c -Command -EncodedCommand"), "powershell": _opts("-c -Command -EncodedCommand"),
    "Rscript": _opts("-e"), "julia": _opts("-e"), "groovy": _opts("-e"),
}  # fmt: skip
#: Package managers: words that bring in code from elsewhere, and words that give something out.
PACKAGES = {
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun"), (_opts("install i add ci update upgrade remove uninstall link exec dlx create init audit"),
                                                      _opts("publish unpublish deprecate dist-tag owner access login adduser token"))),
    **dict.fromkeys(("pip", "pip3", "pipenv", "conda", "mamba"), (_opts("install download uninstall update create"), _opts("upload"))),
    "uv": (_opts("add remove sync pip tool lock install"), _opts("publish")), "poetry": (_opts("add install update remove lock"), _opts("publish")),
    "hatch": (_NONE, _opts("publish")), "flit": (_NONE, _opts("publish")), "twine": (_NONE, _opts("upload register")),
    "cargo": (_opts("install add update fetch remove"), _opts("publish login owner yank")), "go": (_opts("get install"), _NONE),
    "gem": (_opts("install update uninstall"), _opts("push yank owner signin")), "bundle": (_opts("install update add"), _NONE),
    "composer": (_opts("install require update remove"), _NONE), "mvn": (_NONE, _opts("deploy")), "gradle": (_NONE, _opts("publish")),
    **dict.fromkeys(("apt", "apt-get", "aptitude", "dnf", "yum", "apk", "pacman", "brew", "port", "snap", "flatpak", "zypper", "choco", "winget"),
                    (_opts("install remove purge update upgrade add del reinstall -S -R -U -Syu"), _NONE)),
}  # fmt: skip
#: What brings the project's own declared packages back is not a change of what it depends on.
RESTORES = frozenset(
    {
        ("npm", "ci"),
        ("pnpm", "install"),
        ("yarn", "install"),
        ("bundle", "install"),
        ("uv", "sync"),
        ("poetry", "install"),
        ("npm", "audit"),
        ("cargo", "fetch"),
    }
)
GIT_READS = _opts(
    "status log diff show ls-files ls-tree rev-parse blame grep describe shortlog cat-file rev-list merge-base name-rev show-ref for-each-ref "
    "whatchanged count-objects help version var check-ignore check-attr diff-tree diff-index diff-files merge-tree range-diff cherry"
)
GIT_LOCAL = _opts(
    "add commit rm mv restore apply am cherry-pick revert merge checkout switch tag notes init mergetool rerere bisect format-patch archive"
)
GIT_HISTORY = _opts(
    "reset rebase clean stash gc prune filter-branch filter-repo update-ref reflog replace worktree submodule symbolic-ref repack fast-import "
    "update-index sparse-checkout maintenance hash-object write-tree commit-tree pack-refs fsck unpack-objects index-pack config"
)
GIT_REACHES = _opts("fetch pull clone remote ls-remote request-pull send-email svn p4 bundle daemon")
GIT_PUBLISH = _opts("push send-pack http-push lfs")
#: Options by which git runs another program or reads another repository.
GIT_DANGEROUS = _opts(
    "--ext-diff --textconv --open-files-in-pager -O --upload-pack --receive-pack --exec --config-env --exec-path"
)
