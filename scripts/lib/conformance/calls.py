"""gRPC through a proxy, by grpcio: every kind of call, statuses, deadlines, cancellation.

Owns: the server behind the proxy and the client in front of it, in one process, so that one can tell what the other saw.
Leaves to grpc.sh: the proxy. Usage: calls.py SERVER_PORT PROXY_PORT. Prints a line for each check and the count; exits 1
when one failed.
"""

import concurrent.futures
import sys
import threading
import time

import grpc

NAME = "evenkeel.Check"
CHECKS = 13
CANCELLED = threading.Event()


def unary(request, context):
    context.set_trailing_metadata((("x-trailer", "t"),))
    context.send_initial_metadata((("x-header", "h"),))
    return request


def server_stream(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def client_stream(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield request


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: \u00e9")


def slow(request, context):
    context.add_callback(CANCELLED.set)
    while context.is_active():
        time.sleep(0.01)
    return b""


def serve(port):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
    if server.add_insecure_port(f"127.0.0.1:{port}") != port:
        sys.exit(f"port {port} is taken")
    server.start()
    return server


def status(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def checks(channel):
    path = lambda method: f"/{NAME}/{method}"
    one = channel.unary_unary(path("Unary"))
    answer, call = one.with_call(b"hello", timeout=10)
    yield "a unary call", answer == b"hello"
    yield "header metadata", ("x-header", "h") in call.initial_metadata()
    yield "trailer metadata", ("x-trailer", "t") in call.trailing_metadata()
    large = bytes(range(256)) * 12_000
    yield "a message of 3 MB", one(large, timeout=20) == large
    many = list(channel.unary_stream(path("ServerStream"))(b"1000", timeout=10))
    yield "a stream of the server", many == [b"%d" % number for number in range(1000)]
    total = channel.stream_unary(path("ClientStream"))((b"x" * 1000 for _ in range(1000)), timeout=10)
    yield "a stream of the client", total == b"1000000"
    turn, gone = threading.Semaphore(1), []

    def say():
        for number in range(200):
            turn.acquire()
            yield b"%d" % number

    for message in channel.stream_stream(path("Both"))(say(), timeout=10):
        gone.append(message)
        turn.release()
    yield "a conversation, message by message", gone == [b"%d" % number for number in range(200)]
    code, details = status(lambda: channel.unary_unary(path("Fail"))(b"", timeout=10))
    yield "a status with its message", (code, details) == (grpc.StatusCode.FAILED_PRECONDITION, "not today: \u00e9")
    code, _ = status(lambda: channel.unary_unary(path("Missing"))(b"", timeout=10))
    yield "a method that is not there", code == grpc.StatusCode.UNIMPLEMENTED
    code, _ = status(lambda: channel.unary_unary(path("Slow"))(b"", timeout=0.3))
    yield "a deadline", code == grpc.StatusCode.DEADLINE_EXCEEDED
    yield "the server hears of it", CANCELLED.wait(5)
    CANCELLED.clear()
    call = channel.unary_unary(path("Slow")).future(b"", timeout=20)
    time.sleep(0.3)
    call.cancel()
    yield "the server hears of a cancellation", CANCELLED.wait(5)
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda number: one(b"%d" % number, timeout=20), range(2000)))
    yield "2,000 calls, 16 at once", answers == [b"%d" % number for number in range(2000)]


def main():
    server_port, proxy_port = int(sys.argv[1]), int(sys.argv[2])
    server = serve(server_port)
    results = []
    try:
        with grpc.insecure_channel(f"127.0.0.1:{proxy_port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
            for result in checks(channel):
                results.append(result)
    except grpc.RpcError as error:
        results.append((f"the check after that: {error.code()} {error.details()}", False))
    finally:
        server.stop(0)
    for name, passed in results:
        print(f"{'passed' if passed else 'FAILED'}  {name}")
    passed = sum(passed for _, passed in results)
    print(f"{passed} of {CHECKS} passed")
    sys.exit(passed != CHECKS)


main()
