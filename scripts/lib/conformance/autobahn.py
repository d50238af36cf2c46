"""Compares what Autobahn saw through each proxy with what it saw without one; fails when Evenkeel changes anything.

Owns: the score table. A case is the same when its behaviour and the behaviour of its close are.
"""

import json
import sys


def differences(cases, direct):
    """The cases of a proxy that went otherwise than directly."""
    verdict = lambda case: (case["behavior"], case["behaviorClose"])
    return sorted(
        (name for name in direct if name not in cases or verdict(cases[name]) != verdict(direct[name])),
        key=lambda name: [int(part) for part in name.split(".")],
    )


def main(path):
    with open(path, encoding="utf-8") as file:
        agents = json.load(file)
    direct = agents.pop("direct")
    print("| proxy | cases | same as direct | clean closes |\n|---|---|---|---|")
    clean = lambda cases: sum(case["behaviorClose"] in ("OK", "INFORMATIONAL") for case in cases.values())
    print(f"| none (direct) | {len(direct)} | {len(direct)} | {clean(direct)} |")
    changed = {}
    for agent, cases in sorted(agents.items()):
        different = differences(cases, direct)
        print(f"| {agent} | {len(cases)} | {len(direct) - len(different)} | {clean(cases)} |")
        if different:
            changed[agent] = different
    for agent, names in changed.items():
        print(f"\nnot as direct with {agent}:")
        for name in names:
            seen = agents[agent].get(name, {})
            print(
                f"  {name}: {seen.get('behavior')}, close {seen.get('behaviorClose')};"
                f" direct {direct[name]['behavior']}, close {direct[name]['behaviorClose']}"
            )
    print("\nmark: every case the same as direct")
    ours = [agent for agent in agents if agent.startswith("evenkeel")]
    return 1 if not ours or not direct or any(agent in changed for agent in ours) else 0


sys.exit(main(sys.argv[1]))
