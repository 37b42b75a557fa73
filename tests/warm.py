"""Python programs as forks of one process that has imported the large libraries: a start takes 0.1 s, not 2.

`python warm.py serve SOCKET` is that process. `python warm.py run SOCKET ...` runs `python ...` in a fork of it, with
the caller's folder, environment, stdout and stderr, and has its exit status. The project's own modules are never
imported before the fork, so each program sees the files of its own folder.
"""

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import sys

LIBRARIES = (
    "torch", "pandas", "pyarrow.parquet", "safetensors.torch", "sklearn.datasets", "matplotlib.figure", "PIL.Image",
    "scipy.stats", "fvcore.nn", "jsonschema", "snakemake.cli", "snakemake.report.html_reporter", "snakemake.script",
    "snakemake.scheduling.greedy", "snakemake.scheduling.milp", "snakemake.storage", "nbformat", "smart_open",
)  # fmt: skip


def run(server, arguments, environment, folder, outputs=(1, 2)):
    """Runs `python <arguments>` in a fork of the server; its exit status, negative for a signal."""
    request = {"arguments": arguments, "environment": environment, "folder": folder}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], outputs)
        return int(connection.makefile().read())


def serve(path):
    """Waits for requests until standard input is closed; returns in the forks, with the arguments of their program."""
    import importlib

    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        write_python(path)
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            reap()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    return attend(connection)
    reap()
    sys.exit()


def reap():
    """Takes leave of the forks that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def write_python(server):
    """A program to stand for `python` where Snakemake starts the scripts of its jobs."""
    with open(f"{server}.python", "w") as file:
        file.write(f'#!/bin/sh\nexec {sys.executable} -IS {os.path.abspath(__file__)} run {server} "$@"\n')
    os.chmod(f"{server}.python", 0o755)


def attend(connection):
    """Reads a request and answers with the exit status of its program, which is another fork: it returns there."""
    message, outputs, _, _ = socket.recv_fds(connection, 2**16, 2)
    while not message.endswith(b"\n"):
        message += connection.recv(2**16)
    request = json.loads(message)
    ended, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    signal.set_wakeup_fd(wakeup.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    program = os.fork()
    if program:
        if connection in select.select([connection, ended], [], [])[0]:
            os.kill(program, signal.SIGTERM)  # who asked for it is gone
        _, status = os.waitpid(program, 0)
        with contextlib.suppress(OSError):
            connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return request["arguments"]


def start(arguments, server):
    """What `python <arguments>` does once it is up."""
    option, *rest = arguments
    own = "" if option in ("-m", "-c") else os.path.dirname(option)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [own or os.getcwd(), *filter(None, paths)]
    if option == "-m":
        sys.argv, sys.executable = rest, f"{server}.python"
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    action, server, *arguments = sys.argv[1:]
    if action == "run":
        sys.exit(run(server, arguments, dict(os.environ), os.getcwd()))
    sys.path.pop(0)  # the folder of the tests
    start(serve(server), server)
