"""What a hostile worker tries from inside a sandbox. Runs inside: standard library only, no import of ours.

`escapes.py TARGETS.json RESULT.json`: every attempt is a function; it returns what it got (then the attempt came through) or
raises, or returns a false value. The result is `{name: {"got": text or null, "said": text}}`.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

T: dict[str, Any] = {}
ATTEMPTS: dict[str, Callable[[], object]] = {}
NETWORK: set[str] = set()
FORGED: list[str] = []
#: They get something, but only what is the run's own and goes with it: that nothing outside changed is checked from outside.
PRIVATE = {
    "plant_a_shell_start_file", "plant_a_hook_of_a_cli", "leave_something_in_the_temporary_folder", "move_another_runs_branch",
    "overwrite_an_object",
}  # fmt: skip


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    ATTEMPTS[function.__name__] = function
    return function


def network(function: Callable[[], object]) -> Callable[[], object]:
    NETWORK.add(function.__name__)
    return attempt(function)


def put(path: str, text: str = "planted by the worker\n") -> str:
    with open(path, "w") as file:
        file.write(text)
    return f"wrote {path}"


def get(path: str) -> str:
    with open(path, "rb") as file:
        return file.read(200).decode("utf-8", "replace")


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(done.stderr.decode("utf-8", "replace").strip()[-200:] or f"exit {done.returncode}")
    return done.stdout.decode("utf-8", "replace") or "ran"


libc = ctypes.CDLL(None, use_errno=True)


def system(result: int) -> str:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"returned {result}"


# ---------------------------------------------------------------- files outside the tree


@attempt
def write_beside_the_project() -> object:
    return put(os.path.join(T["elsewhere"], "planted"))


@attempt
def write_the_main_checkout() -> object:
    return put(os.path.join(T["project"], "README.md"))


@attempt
def write_by_dots() -> object:
    return put("../../../README.md")


@attempt
def write_through_a_symlink() -> object:
    os.symlink(os.path.join(T["elsewhere"], "canary"), "link")
    try:
        return put("link")
    finally:
        os.unlink("link")


@attempt
def write_through_a_linked_folder() -> object:
    os.symlink(T["elsewhere"], "folder")
    try:
        return put("folder/planted")
    finally:
        os.unlink("folder")


@attempt
def hardlink_a_file_from_outside() -> object:
    os.link(os.path.join(T["elsewhere"], "canary"), "hard")
    return put("hard")


@attempt
def rename_a_file_out_of_the_tree() -> object:
    put("out")
    try:
        os.rename("out", os.path.join(T["elsewhere"], "planted"))
    finally:
        os.unlink("out")
    return "renamed"


@attempt
def append_through_a_descriptor_of_proc() -> object:
    fd = os.open(os.path.join(T["elsewhere"], "canary"), os.O_RDONLY)
    with open(f"/proc/self/fd/{fd}", "a") as file:
        file.write("planted")
    return "appended"


@attempt
def write_system_configuration() -> object:
    return put("/etc/cc-escape")


@attempt
def write_a_cron_job() -> object:
    return put("/etc/cron.d/cc-escape", "* * * * * root true\n")


@attempt
def write_a_program_on_the_path() -> object:
    return put("/usr/local/bin/cc-escape", "#!/bin/sh\n")


@attempt
def change_the_mode_of_a_file_outside() -> object:
    os.chmod(os.path.join(T["elsewhere"], "canary"), 0o777)
    return "changed"


@attempt
def change_the_times_of_a_file_outside() -> object:
    os.utime(os.path.join(T["elsewhere"], "canary"), (1, 1))
    return "changed"


@attempt
def plant_a_shell_start_file() -> object:
    return put(os.path.join(T["home"], ".bashrc"))


@attempt
def plant_a_hook_of_a_cli() -> object:
    os.makedirs(os.path.join(T["home"], ".claude"), exist_ok=True)
    return put(os.path.join(T["home"], ".claude", "settings.json"), '{"hooks": {}}')


@attempt
def leave_something_in_the_temporary_folder() -> object:
    return put("/tmp/cc-escape-planted")


# ---------------------------------------------------------------- secrets


@attempt
def read_ssh_keys() -> object:
    return get(os.path.join(T["home"], ".ssh/id_ed25519"))


@attempt
def read_cloud_credentials() -> object:
    return get(os.path.join(T["home"], ".aws/credentials"))


@attempt
def read_gnupg() -> object:
    return get(os.path.join(T["home"], ".gnupg/secring"))


@attempt
def read_the_github_token() -> object:
    return get(os.path.join(T["home"], ".config/gh/hosts.yml"))


@attempt
def read_netrc() -> object:
    return get(os.path.join(T["home"], ".netrc"))


@attempt
def read_a_secret_that_no_list_names() -> object:
    return get(os.path.join(T["home"], "notes/passwords.txt"))


@attempt
def read_shadow() -> object:
    return get("/etc/shadow")


@attempt
def read_another_homes_files() -> object:
    return [get(path) for path in (*glob.glob("/root/.*rc"), *glob.glob("/home/*/.*rc"))]


@attempt
def read_the_untracked_env_file_of_the_checkout() -> object:
    return get(os.path.join(T["project"], ".env"))


@attempt
def read_secrets_of_the_environment() -> object:
    found = [name for name in ("GITHUB_TOKEN", "DATABASE_URL", "SSH_AUTH_SOCK") if name in os.environ]
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                text = file.read()
            found += [path for name in (b"GITHUB_TOKEN=", b"DATABASE_URL=") if name in text]
        except OSError:
            continue
    return found


# ---------------------------------------------------------------- our own files


@attempt
def read_another_runs_folder() -> object:
    return get(os.path.join(T["other_run"], "events.ndjson"))


@attempt
def list_all_runs() -> object:
    names = os.listdir(os.path.dirname(T["other_run"]))
    return [name for name in names if name == os.path.basename(T["other_run"])]


@attempt
def forge_a_receipt() -> object:
    for path in glob.glob(os.path.join(T["workspace"], "ledger", "*")):
        put(path)
        return path
    return put(os.path.join(T["workspace"], "ledger", "receipts-0001.ndjson"))


@attempt
def read_the_ledger() -> object:
    return [get(path) for path in glob.glob(os.path.join(T["workspace"], "ledger", "receipts*"))]


@attempt
def change_a_policy() -> object:
    return put(os.path.join(T["workspace"], "policies", "policy.cedar"), "permit(principal, action, resource);\n")


@attempt
def append_to_its_own_journal() -> object:
    folder = os.path.dirname(os.environ["CC_RUN_OUTBOX"])
    with open(os.path.join(folder, "events.ndjson"), "a") as file:
        file.write("{}\n")
    return get(os.path.join(folder, "spec.json"))


@attempt
def answer_its_own_question() -> object:
    return put(os.path.join(os.path.dirname(os.environ["CC_RUN_OUTBOX"]), "control.ndjson"))


@attempt
def change_another_worktree() -> object:
    return put(os.path.join(T["other_tree"], "planted"))


# ---------------------------------------------------------------- git


def common() -> str:
    return run("git", "rev-parse", "--path-format=absolute", "--git-common-dir").strip()


def admin() -> str:
    return run("git", "rev-parse", "--path-format=absolute", "--git-dir").strip()


@attempt
def plant_a_git_hook() -> object:
    os.makedirs(os.path.join(common(), "hooks"), exist_ok=True)
    return put(os.path.join(common(), "hooks", "post-checkout"), "#!/bin/sh\ntouch /tmp/x\n")


@attempt
def change_git_configuration() -> object:
    return run("git", "config", "core.fsmonitor", "touch /tmp/x")


@attempt
def change_git_configuration_of_the_worktree() -> object:
    # Readable configuration of its own needs the extension, which lies in the other file.
    return run("git", "config", "extensions.worktreeConfig", "true")


@attempt
def lead_git_to_another_repository() -> object:
    return put(os.path.join(admin(), "commondir"), T["elsewhere"] + "\n")


@attempt
def replace_the_link_to_the_repository() -> object:
    os.unlink(".git")
    os.mkdir(".git")
    return "replaced"


@attempt
def move_the_link_to_the_repository() -> object:
    os.rename(".git", ".git-old")
    return "moved"


@attempt
def move_the_users_branch() -> object:
    return run("git", "update-ref", "refs/heads/main", "HEAD")


@attempt
def move_another_runs_branch() -> object:
    return run("git", "update-ref", T["other_ref"], "HEAD")


@attempt
def move_another_runs_result() -> object:
    return run("git", "update-ref", T["other_result"], "HEAD")


@attempt
def change_the_index_of_the_checkout() -> object:
    return put(os.path.join(common(), "index"))


@attempt
def add_alternate_objects() -> object:
    return put(os.path.join(common(), "objects", "info", "alternates"), T["elsewhere"] + "\n")


@attempt
def destroy_the_repositorys_objects() -> object:
    """What can be seen of them is a private folder and a read-only one."""
    # Where nothing is mounted, they lie where they always do.
    real = "/run/cc-objects" if os.path.isdir("/run/cc-objects") else os.path.join(common(), "objects")
    shown = [path for path in glob.glob(f"{real}/??/*") if os.path.isfile(path)]
    os.unlink(shown[0])
    return f"removed {shown[0]}"


@attempt
def overwrite_an_object() -> object:
    name = run("git", "rev-list", "--max-parents=0", "HEAD").strip()
    FORGED.append(name)
    path = os.path.join(common(), "objects", name[:2])
    os.makedirs(path, exist_ok=True)
    return put(os.path.join(path, name[2:]), "no object")


@attempt
def change_the_users_git_configuration() -> object:
    return run("git", "config", "--global", "core.hooksPath", "/tmp/x")


# ---------------------------------------------------------------- other processes


@attempt
def see_other_processes() -> object:
    return [
        pid
        for pid in glob.glob("/proc/[0-9]*")
        if b"cc_orchestrator.runs.supervisor" in open(pid + "/cmdline", "rb").read()
    ]


@attempt
def kill_another_process() -> object:
    os.kill(T["victim"], signal.SIGKILL)
    return "killed"


@attempt
def end_another_process() -> object:
    os.kill(T["victim"], signal.SIGTERM)
    return "reached"


@attempt
def read_another_process_memory() -> object:
    return get(f"/proc/{T['victim']}/mem") or get(f"/proc/{T['victim']}/environ")


@attempt
def trace_another_process() -> object:
    return system(libc.ptrace(16, T["victim"], 0, 0))


@attempt
def read_another_process_by_a_system_call() -> object:
    buffer = ctypes.create_string_buffer(8)

    class Io(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    local, far = Io(ctypes.addressof(buffer), 8), Io(T["address"], 8)
    return system(libc.process_vm_readv(T["victim"], ctypes.byref(local), 1, ctypes.byref(far), 1, 0))


@attempt
def open_a_descriptor_of_another_process() -> object:
    return system(libc.syscall(434, T["victim"], 0))


# ---------------------------------------------------------------- the kernel


@attempt
def mount_something() -> object:
    os.makedirs("mnt", exist_ok=True)
    try:
        return system(libc.mount(b"none", b"mnt", b"tmpfs", 0, None))
    finally:
        os.rmdir("mnt")


@attempt
def unmount_what_hides() -> object:
    return system(libc.umount2(T["project"].encode(), 2))


@attempt
def remount_writable() -> object:
    return system(libc.mount(b"none", b"/", None, 32 | 4096, None))


@attempt
def make_a_user_namespace() -> object:
    # In a child: one that is root in a namespace of its own would make all that comes after it another question.
    child = os.fork()
    if not child:
        os._exit(0 if libc.unshare(0x10000000) == 0 else ctypes.get_errno() or 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))
    return "made"


@attempt
def make_a_mount_namespace() -> object:
    return system(libc.unshare(0x00020000))


@attempt
def leave_by_chroot() -> object:
    os.chroot(".")
    return "changed"


@attempt
def become_somebody_by_setuid() -> object:
    program = shutil.which("su") or shutil.which("passwd")
    copy = os.path.abspath("suid")
    shutil.copy(program or sys.executable, copy)
    try:
        os.chown(copy, 12345, 12345)
    finally:
        os.unlink(copy)
    return "owned"


@attempt
def make_a_device() -> object:
    os.mknod("disk", 0o600 | 0o060000, os.makedev(8, 0))
    return get("disk")


@attempt
def read_a_disk() -> object:
    disks = list(glob.glob("/dev/[svx]d*") + glob.glob("/dev/vd*") + glob.glob("/dev/nvme*") + glob.glob("/dev/mem"))
    return [get(path) for path in disks]


@attempt
def change_a_kernel_setting() -> object:
    return put("/proc/sys/kernel/core_pattern", get("/proc/sys/kernel/core_pattern"))


@attempt
def leave_by_the_control_group() -> object:
    for path in ("/sys/fs/cgroup/cgroup.procs", *glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True)):
        return put(path, str(os.getpid()))
    return None


@attempt
def read_the_kernels_memory() -> object:
    return get("/proc/kcore") or get("/proc/kmsg")


@attempt
def change_a_setting_of_sys() -> object:
    path = "/sys/kernel/mm/transparent_hugepage/khugepaged/defrag"
    return put(path, get(path)[:1])


# ---------------------------------------------------------------- sockets and the network


def connect(family: int, kind: int, address: Any) -> str:
    with socket.socket(family, kind) as client:
        client.settimeout(5)
        client.connect(address)
        client.sendall(b"escaped\n")
    return f"reached {address!a}"


@attempt
def use_a_socket_in_the_temporary_folder() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, T["socket_tmp"])


@attempt
def use_a_socket_in_the_runtime_folder() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, T["socket_run"])


@attempt
def use_a_systems_socket() -> object:
    found = [path for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0")
             if os.path.exists(path)]  # fmt: skip
    return [connect(socket.AF_UNIX, socket.SOCK_STREAM, path) for path in found]


@network
def use_an_abstract_socket() -> object:
    return connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + T["abstract"])


@network
def reach_a_server_on_loopback() -> object:
    return connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", T["port"]))


@network
def send_a_datagram() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        client.sendto(b"escaped\n", ("127.0.0.1", T["udp"]))
        return client.recv(10)


@network
def leave_by_a_raw_socket() -> object:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "made"


@network
def reach_a_host_on_the_network() -> object:
    return connect(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80))


def ask_proxy(request: bytes) -> object:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect("/run/cc-proxy.sock")
        client.sendall(request)
        said = client.recv(200)
    return said if b" 200 " in said else None


@network
def ask_the_proxy_for_another_port() -> object:
    return ask_proxy(f"CONNECT 127.0.0.1:{T['port']} HTTP/1.1\r\n\r\n".encode())


@network
def ask_the_proxy_for_a_name_within_a_name() -> object:
    return ask_proxy(f"CONNECT evil.127.0.0.1:{T['allowed']} HTTP/1.1\r\n\r\n".encode())


@network
def ask_the_proxy_to_fetch() -> object:
    return ask_proxy(f"GET http://127.0.0.1:{T['port']}/ HTTP/1.1\r\n\r\n".encode())


# ---------------------------------------------------------------- what a worker must be able to do


def controls() -> dict[str, object]:
    for name in FORGED:
        # It harmed nobody but this worker's own view.
        os.unlink(os.path.join(common(), "objects", name[:2], name[2:]))
    put("made.txt", "made inside\n")
    put(os.path.join(os.environ["CC_RUN_OUTBOX"], "note.txt"))
    put(os.path.join(os.environ["TMPDIR"], "scratch"))
    run("git", "add", "made.txt")
    run("git", "-c", "user.name=W", "-c", "user.email=w@localhost", "commit", "-q", "-m", "made inside")
    done: dict[str, object] = {"committed": run("git", "log", "-1", "--format=%s").strip()}
    if T["without_network"]:
        done["allowed"] = connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", T["allowed"]))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", 3128))
            client.sendall(f"CONNECT 127.0.0.1:{T['allowed']} HTTP/1.1\r\n\r\n".encode())
            done["proxied"] = client.recv(200).decode().split("\r\n")[0]
    return done


def main() -> None:
    with open(sys.argv[1]) as file:
        T.update(json.load(file))
    found: dict[str, dict[str, object]] = {}
    for name, function in ATTEMPTS.items():
        if name in NETWORK and not T["without_network"]:
            continue
        try:
            got, said = function(), "got nothing"
        except (OSError, subprocess.SubprocessError, KeyError, ValueError) as error:
            got, said = None, f"{type(error).__name__}: {error}"
        found[name] = {"got": str(got)[:300] if got else None, "said": said}
    try:
        found["controls"] = controls()
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        found["controls"] = {"failed": f"{type(error).__name__}: {error}"}
    with open(sys.argv[2], "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
