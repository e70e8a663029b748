"""What a model folder says to people: the card (README.md) and the report (report.html), from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tenor.errors import plural
from tenor.tasks import COMMANDS

ERROR_IS = "expected calibration error, 15 equal bins of the top label's probability"

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.3rem .8rem;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}
pre{background:#f5f5f5;padding:.8rem;overflow:auto}"""


def percent(metrics: dict[str, Any]) -> str:
    """Accuracy and its interval, for people."""
    return f"{metrics['accuracy']:.1%} (95 % interval {metrics['accuracy_low']:.1%} to {metrics['accuracy_high']:.1%}, {plural(metrics['rows'], 'row')})"


def verdict(test: dict[str, Any], linear: dict[str, Any], versus: dict[str, Any]) -> str:
    """One sentence: does the recurrent network earn its place on this data?"""
    points = f"{100 * versus['difference']:+.1f} points, 95 % interval {100 * versus['difference_low']:+.1f} to {100 * versus['difference_high']:+.1f}"
    if versus["verdict"] == "tie":
        if versus["difference_low"] > 0 or versus["difference_high"] < 0:  # the interval is an approximation, the test is exact
            points += f"; but so few rows tell them apart that chance alone gives as much with a probability of {versus['p']:.2f}"
        return f"Tie: the network ({test['accuracy']:.1%}) and the linear baseline ({linear['accuracy']:.1%}) cannot be told apart on these rows ({points})."
    if versus["verdict"] == "worse":
        return f"The linear baseline wins: {linear['accuracy']:.1%} against the network's {test['accuracy']:.1%} ({points}). Use it, or give the network more rows."
    return f"The network wins: {test['accuracy']:.1%} against the linear baseline's {linear['accuracy']:.1%} ({points})."


def calibrated(test: dict[str, Any] | None, calibration: dict[str, Any] | None) -> str:
    """One sentence: how far may the probabilities be believed?"""
    how = "Probabilities are not calibrated." if not calibration else f"Probabilities are calibrated by one temperature, {calibration['temperature']:.2f}, fitted on {plural(calibration['rows'], 'validation row')}."
    if not test or "calibration_error" not in test:  # folders of format 1
        return how
    return f"{how} On the test rows they are off by {test['calibration_error']:.3f} on average ({ERROR_IS})."


def shrunk(found: dict[str, Any]) -> str:
    """How small did a model become, and what did it cost?"""
    sizes = f"Weights stored as {found['weights']}: {found['weight_bytes'] / 1e6:.2f} MB instead of {found['weight_bytes_before'] / 1e6:.2f}"
    check = found.get("check")
    if not check:
        return f"{sizes}. What that cost was not measured."
    same = f"{check['labels_changed']:,} of {check['rows']:,} answers changed"
    read = " (read in 8 bits)" if "8 bits" in check.get("kernel", "") else ""
    return f"{sizes}; on {plural(check['rows'], 'row')} accuracy {check['accuracy_after']:.4f}{read} instead of {check['accuracy_before']:.4f}, {same}, probabilities by {check['greatest_change']:.3f} at most.{''.join(' ' + n for n in check.get('notes', []))}"


def sections(config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(heading, sentences, table with its head line) each; a table may be empty."""
    data, test, linear = metrics["data"], metrics.get("test"), metrics.get("baseline")
    result, table = [], []
    if test:
        result = [f"Accuracy on the test rows: {percent(test)}; split: {metrics['split']}."]
        table = [["", "accuracy", "F1", "AUC"], ["this network", f"{test['accuracy']:.4f}", f"{test['f1']:.4f}", _number(test["auc"])]]
        if linear:
            result.append(verdict(test, linear, metrics["versus_baseline"]))
            table.append([linear["name"], f"{linear['accuracy']:.4f}", "", ""])
    else:
        result = ["No test rows were read: " + ("training was interrupted." if not metrics["finished"] else "the split has none.")]
    if metrics.get("shrunk"):
        result.append(shrunk(metrics["shrunk"]))
    out = [("Result", result, table), ("Data", data["sentences"], [])]
    if test:
        names = [str(x) for x in test["labels"]]
        out.append(("Errors", ["Rows: the true label; columns: what the model said."], [["", *names], *([n, *map(str, row)] for n, row in zip(names, test["confusion"], strict=True))]))
        out.append(("By length of text", [], [["tokens", "rows", "accuracy", "95 % interval"], *([s["tokens"], f"{s['rows']:,}", f"{s['accuracy']:.3f}", f"{s['accuracy_low']:.3f} to {s['accuracy_high']:.3f}"] for s in test["by_length"])]))
    out += [_training(metrics, history), _settings(config)]
    limits = [
        "It knows the kind of texts it was trained on; on others the numbers above do not hold.",
        f"Texts are cut to {max(config['text']['max_tokens'], _beside(config).get('max_tokens', 0))} tokens; `tokens_cut` says by how much.",
        calibrated(test, metrics.get("calibration")),
        "The texts it was trained on may carry a licence of their own that bears on the model.",
    ]
    return [*out, ("Limits", limits, [])]


def _training(metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> tuple[str, list[str], list[list[str]]]:
    columns = [k for k in ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "seconds", "tokens_per_second") if history and k in history[0]]
    kept = f"Epoch {metrics['best_epoch']} was kept." if metrics["best_epoch"] else "Interrupted before the end of the first epoch."
    return "Training", [kept], [[c.replace("_", " ") for c in columns], *([_number(e[c]) for c in columns] for e in history)] if history else []


def _settings(config: dict[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    made = [f"Made with: {config['command']}"] if config.get("command") else []
    return "Settings", made, [["setting", "value"], *([k, _setting(v)] for part in ("text", "model", "train") for k, v in config.get(part, {}).items()), *([f"beside: {k}", _setting(v)] for k, v in _beside(config).items())]


def _setting(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _beside(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of the network that answers beside the one that the rest describes."""
    found = config.get("beside")
    if not isinstance(found, dict):  # of a tagger, columns
        return {}
    out: dict[str, Any] = {k: f"{found[k]:.3f}" for k in ("share", "sure") if k == "share" or found.get(k, 1.0) < 1}
    other = {k: v for k, v in found.get("train", {}).items() if v != config.get("train", {}).get(k)}  # of folders of before, or made in Python, it is not known
    return out | dict(found["text"]) | dict(found["model"]) | other


def card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown."""
    return _markdown(title, f'tenor predict "a text" -m {title}', sections(config, metrics, history))


def pretrained_card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown, for a language model."""
    drawn = f"{metrics['draws']:,} drawn ones; who knows nothing but how frequent words are has {math.log(metrics['draws'] + 1):.2f}" if "draws" in metrics else "the drawn ones"
    how = [
        f"`nats a word` is the loss: each word is guessed among itself and {drawn}. No perplexity of the vocabulary follows from it; it compares epochs, and models of one vocabulary and the same texts.",
        "`guessed` is the share of words that got the greatest score there, where drawn words count as often as they were drawn.",
    ]
    limits = ["It answers nothing by itself: a training starts from it.", "The texts it was trained on may carry a licence of their own that bears on the model."]
    heading, kept, table = _training(metrics, history)
    names = {"loss": "nats a word", "validation loss": "validation nats a word", "accuracy": "guessed", "validation accuracy": "validation guessed"}
    table = [[names.get(c, c) for c in row] for row in table]
    found = [("Data", metrics["data"]["sentences"], []), (heading, kept + how, table), _settings(config), ("Limits", limits, [])]
    return _markdown(title, f"tenor train SOURCE --from {title}", found)


def foretold(found: Mapping[str, Any]) -> str:
    """One sentence: how well are texts foretold?"""
    return f"{found['nats_per_character']:.4f} nats a character ({found['bits_per_character']:.3f} bits), perplexity {found['perplexity']:.3f} and accuracy {found['accuracy']:.3f} a token, {found['tokens']:,} tokens"


def _task_card(
    task: str, title: str, result: list[str], how: list[str], limits: list[str], config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]], table: Sequence[list[str]] = ()
) -> bytes:
    """Markdown. result: sentences on how good it is, with a table; how: what the training's columns mean."""
    result = result + ([shrunk(metrics["shrunk"])] if metrics.get("shrunk") else [])
    heading, kept, epochs = _training(metrics, history)
    data = metrics["data"]["sentences"] + left_out(metrics)
    return _markdown(title, COMMANDS[task].format(title), [("Result", result, list(table)), ("Data", data, []), (heading, kept + how, epochs), _settings(config), ("Limits", limits, [])])


def generator_card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown, for a model that generates."""
    how = ["`loss` is nats a token; `accuracy` is the share of tokens that got the greatest probability."]
    limits = ["It writes what is probable after what it has read; nothing of it need be true.", "The texts it was trained on may carry a licence of their own that bears on the model, and long passages of them may come out again."]
    result = [f"On the validation text, which chose the epoch: {foretold(metrics['validation'])}."] if metrics.get("validation") else ["No text was kept aside, so nothing says how well it foretells others."]
    return _task_card("generate", title, result, how, limits, config, metrics, history)


def heard(found: Mapping[str, Any]) -> str:
    """One sentence: how well is speech heard?"""
    words = f"word error rate {found['word_error_rate']:.2%} ({found['word_errors']:,} of {plural(found['words'], 'word')}), character error rate {found['character_error_rate']:.2%}"
    interval = f" (95 % interval {found['accuracy_low']:.1%} to {found['accuracy_high']:.1%})" if "accuracy_low" in found else ""
    return f"{words}; {found['accuracy']:.1%}{interval} of {plural(found['rows'], 'sound')} without an error"


def transcriber_card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown, for a model that transcribes."""
    how = ["`loss` is CTC's, in nats a symbol; `accuracy` is the share of sounds without an error: those that are joined and changed in training, plain ones in validation."]
    limits = [
        "It knows the voices, words and microphones that it was trained on; of other speakers expect less.",
        "It writes down only words and characters that occurred in training.",
        "The recordings it was trained on may carry a licence of their own that bears on the model.",
    ]
    result = [f"On the {name} sounds: {heard(metrics[name])}." for name in ("test", "validation") if metrics.get(name)] or ["No sound was kept aside, so nothing says how well it hears others."]
    return _task_card("transcribe", title, result, how, limits, config, metrics, history)



def tagged_well(found: Mapping[str, Any]) -> str:
    """One sentence: how well are words tagged?"""
    words = f"accuracy {found['accuracy']:.4f} ({plural(found['words'], 'word')}, {plural(found['sentences'], 'sentence')})"
    s = found.get("spans")
    return words if not s else f"F1 of spans {s['f1']:.4f} (precision {s['precision']:.4f}, recall {s['recall']:.4f}, {plural(s['spans'], 'span')}), {words}"


def kinds_of_spans(found: Mapping[str, Any]) -> list[list[str]]:
    """A table with its head line, the most frequent kinds first; empty where tags mark no spans."""
    kinds = sorted(found.get("spans", {}).get("kinds", {}).items(), key=lambda k: -k[1]["spans"])
    rows = [[name, f"{k['spans']:,}", f"{k['spans_said']:,}", f"{k['precision']:.4f}", f"{k['recall']:.4f}", f"{k['f1']:.4f}"] for name, k in kinds]
    return [["kind", "spans", "said", "precision", "recall", "F1"], *rows] if rows else []


def tagger_card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown, for a model that tags."""
    how = ["`loss` is nats a word; `accuracy` is of words, in training of what each word says by itself, without the chain over the sentence."]
    limits = ["It knows the kind of texts it was trained on; on others the numbers above do not hold.", "The texts it was trained on may carry a licence of their own that bears on the model."]
    if config.get("beside"):
        limits.insert(0, f"Beside the words it reads the column {', '.join(config['beside'])}; where that is not given it is less sure, and the numbers above do not hold.")
    test, aside = metrics.get("test"), metrics.get("validation")
    result = [f"On the test rows: {tagged_well(test)}."] if test else []
    result += [f"On the validation rows, which chose the epoch: {tagged_well(aside)}."] if aside else []
    result += (test or aside or {}).get("notes", [])
    result = result or ["No rows were kept aside, so nothing says how well it tags others."]
    words = config | {"text": {k: v for k, v in config.get("text", {}).items() if k == "vocab"}}
    return _task_card("tag", title, result, how, limits, words, metrics, history, kinds_of_spans(test or aside or {}))



def translated(found: dict[str, Any]) -> str:
    """One sentence: how good are translations?"""
    return f"BLEU {found['bleu']:.2f} ({found['bleu_signature']}), chrF {found['chrf']:.2f} ({found['chrf_signature']}), perplexity {found['perplexity']:.3f} a token, {plural(found['pairs'], 'pair')}"


def left_out(found: Mapping[str, Any]) -> list[str]:
    """A sentence on the pairs that a training left out, if any."""
    return [f"{plural(found['left_out'], 'pair')} left out: their target is longer than --max-tokens."] if found.get("left_out") else []


def translator_card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown, for a model that translates."""
    how = ["`loss` is nats a token of the translation; in training with label smoothing, which it includes. `accuracy` is the share of tokens that got the greatest probability."]
    limits = [
        "It knows the kind of texts it was trained on; on others the numbers above do not hold, and a fluent translation may be wrong.",
        f"Texts are cut to {config['text']['max_tokens']} tokens, and no translation is longer; `tokens_cut` says by how much.",
        "Words with characters that never occurred in training are copied.",
        "The texts it was trained on may carry a licence of their own that bears on the model.",
    ]
    result = [f"On the validation pairs, which chose the epoch: {translated(metrics['validation'])}."] if metrics.get("validation") else ["No pair was kept aside, so nothing says how well it translates others."]
    return _task_card("translate", title, result, how, limits, config, metrics, history)


def conversed(found: dict[str, Any]) -> str:
    """One sentence: how well are replies foretold, and how different are its own?"""
    return (
        f"perplexity {found['perplexity']:.2f} a token (of a model that knows only how frequent tokens are: {found['unigram_perplexity']:.2f}), "
        f"distinct-1 {found['distinct_1']:.3f} and distinct-2 {found['distinct_2']:.3f} of its replies to {plural(found['pairs'], 'prompt')}"
    )


def conversation_card(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]]) -> bytes:
    """Markdown, for a model that chats."""
    how = ["`loss` is nats a token of the reply; `accuracy` is the share of tokens that got the greatest probability."]
    limits = [
        "It replies as the training texts would; nothing of it need be true, and each prompt is answered by itself, whatever was said before.",
        f"Of a prompt the last {config['text']['max_tokens']} tokens are read, and no reply is longer.",
        "The texts it was trained on may carry a licence of their own that bears on the model, and passages of them may come out again.",
    ]
    result = [f"On the validation pairs, which chose the epoch: {conversed(metrics['validation'])}."] if metrics.get("validation") else ["No pair was kept aside, so nothing says how well it foretells others."]
    return _task_card("chat", title, result, how, limits, config, metrics, history)


def _markdown(title: str, use: str, found: Sequence[tuple[str, list[str], list[list[str]]]]) -> bytes:
    lines = [f"# {title}", "", f"Use it: `{use}`", ""]
    for heading, sentences, table in found:
        lines += [f"## {heading}", "", *(f"- {s}" for s in sentences), ""]
        if table:
            lines += [_row(table[0]), _row(["---"] * len(table[0])), *map(_row, table[1:]), ""]
    return "\n".join(lines).encode()


def page(title: str, config: dict[str, Any], metrics: dict[str, Any], history: Sequence[dict[str, Any]], svg: bytes) -> bytes:
    """One HTML file with the curves inside; nothing is loaded from elsewhere."""
    curves = svg.decode()
    body = [f"<h1>{escape(title)}</h1>"]
    for heading, sentences, table in sections(config, metrics, history):
        body.append(f"<h2>{escape(heading)}</h2>" + "".join(f"<p>{escape(s)}</p>" for s in sentences))
        if heading == "Training" and history:
            body.append(curves[curves.index("<svg") :])
        if table:
            head = "".join(f"<th>{escape(c)}</th>" for c in table[0])
            rows = "".join("<tr>" + "".join(f"<td{' class=n' if i else ''}>{escape(c)}</td>" for i, c in enumerate(r)) + "</tr>" for r in table[1:])
            body.append(f"<table><tr>{head}</tr>{rows}</table>")
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>{"".join(body)}</html>\n'.encode()


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
