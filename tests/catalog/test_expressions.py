"""The one grammar: what it means, where its errors point, and that no text can break it."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import lossbench
from lossbench.catalog.columns import resolve
from lossbench.catalog.grammar import (
    ExpressionError,
    Item,
    Loss,
    Operation,
    fold,
    leaves,
    parse_gate,
    parse_item,
)

VALUES = {"l1": 0.25, "dice": 3.0, "Überlapp": -1.5}


def worked_out(item: Item) -> float:
    return float(fold(item.node, lambda loss: VALUES[loss.name]))


def pointed_at(error: BaseException) -> tuple[str, str]:
    """The line that an error shows, and what of it stands at the caret and after."""
    _, line, carets = str(error).split("\n")
    return line[2:], line[carets.index("^") :]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dice", 3.0),
        ("dice + l1 * 2", 3.5),
        ("(dice + l1) * 2", 6.5),
        ("dice - l1 - 1", 1.75),
        ("dice / 2 / 2", 0.75),
        ("dice / (2 / 2)", 3.0),
        ("-dice + 4", 1.0),
        ("2 * -dice", -6.0),
        ("--dice", 3.0),
        ("-(dice - 1) * 2", -4.0),
        ("1e-1*dice", 0.1 * 3.0),
        (".5*dice + 5.*l1", 2.75),
        ("Überlapp*l1", -0.375),
        ("dice/0", math.inf),
        ("-dice/0", -math.inf),
        ("dice*0/0", math.nan),
        ("dice*" + "*".join(["999999999999999999"] * 20), math.inf),
        ("  dice+l1  ", 3.25),
    ],
)
def test_sums_and_products_mean_what_they_mean_on_paper(text: str, value: float) -> None:
    assert worked_out(parse_item(text)) == pytest.approx(value, nan_ok=True, abs=0, rel=0)


def test_products_bind_before_sums_and_both_run_from_the_left() -> None:
    a, b = Loss("a"), Loss("b")
    assert parse_item("a - b - a").node == Operation("-", Operation("-", a, b), a)
    assert parse_item("a - b / a").node == Operation("-", a, Operation("/", b, a))
    assert parse_item("-a").node == Operation("-", 0, a)


def test_a_column_has_the_name_it_is_given_or_its_expression_with_blanks_collapsed() -> None:
    texts = ["  dice(smooth=1)   +  0.5*bce ", "seg =  dice", "dice"]
    names = [column.name for column in resolve(texts, {})]
    assert names == ["dice(smooth=1) + 0.5*bce", "seg", "dice"]


def test_losses_are_told_from_left_to_right() -> None:
    found = leaves(parse_item("b(x=1)*2 + (a - b)").node)
    assert list(found) == [Loss("b", {"x": 1}), Loss("a"), Loss("b")]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("1e-3", 1e-3),
        ("'two words'", "two words"),
        ('"it]s, (odd)"', "it]s, (odd)"),
        ("alex", "alex"),
        ("true", True),
        ("false", False),
        ("none", None),
        ("other(x=1)", Loss("other", {"x": 1})),
        ("[]", []),
        ("[1, -2, word, 'a b', true]", [1, -2, "word", "a b", True]),
        ("[[1, 2], [3]]", [[1, 2], [3]]),
        ("[1, 2,]", [1, 2]),
    ],
)
def test_an_option_takes_a_value_of_every_kind(written: str, value: Any) -> None:
    options = parse_item(f"some(first=0, option = {written} , last=9)").node.options
    assert options == {"first": 0, "option": value, "last": 9}
    assert type(options["option"]) is type(value)


def test_whole_numbers_stay_whole() -> None:
    options = parse_item("some(a=2, b=2.0, c=123456789012345678)").node.options
    assert [type(value) for value in options.values()] == [int, float, int]


def test_two_spellings_of_one_loss_are_equal() -> None:
    assert parse_item("a( x=1,y = 2 )").node == parse_item("a(y=2.0, x=1)").node
    assert parse_item("a()").node == parse_item("a").node


def test_a_gate_has_a_loss_a_class_an_aggregate_and_a_bound() -> None:
    gate = parse_gate("dice(smooth=1)[ traffic light ].p95   <  0.4")
    assert gate.loss == Loss("dice", {"smooth": 1})
    assert (gate.of_class, gate.aggregate) == ("traffic light", "p95")
    assert (gate.compare, gate.bound) == ("<", 0.4)


@pytest.mark.parametrize(
    ("written", "name"),
    [("road", "road"), ("[a]b]", None), ("'a]b'", "a]b"), ('"x.y"', "x.y"), ("naïve", "naïve")],
)
def test_a_class_is_any_text_and_quoted_where_it_holds_a_bracket(
    written: str, name: str | None
) -> None:
    if name is None:
        with pytest.raises(ExpressionError):
            parse_gate(f"dice[{written}].mean < 1")
    else:
        assert parse_gate(f"dice[{written}].mean < 1").of_class == name


@pytest.mark.parametrize("compare", ["<", "<=", ">", ">=", "==", "!="])
def test_a_gate_compares_in_six_ways_with_or_without_blanks(compare: str) -> None:
    assert parse_gate(f"errors{compare}0").compare == compare
    assert parse_gate(f"errors {compare} -0.5").bound == Operation("-", 0, 0.5)


def test_a_bound_is_a_sum_of_numbers_and_the_baseline() -> None:
    bound = parse_gate("dice.mean <= 1.1*baseline + 0.01").bound
    assert fold(bound, lambda _: 2.0) == 1.1 * 2.0 + 0.01


@pytest.mark.parametrize(
    ("text", "rest", "words"),
    [
        ("", "", "expected name"),
        ("dice +* 2", "* 2", "expected name, found *"),
        ("dice)", ")", "did not expect )"),
        ("dice,iou", ",iou", "did not expect , here; give each loss a --loss of its own"),
        ("dice dice", "dice", "did not expect dice"),
        ("(dice", "", "expected ), found the end"),
        ("dice ^ 2", "^ 2", "cannot read '^'"),
        ("dice(smooth 1)", "1)", "expected =, found 1"),
        ("dice(smooth=)", ")", "expected name, found )"),
        ("dice(smooth=1", "", "expected ), found the end"),
        ("dice(1=2)", "1=2)", "expected name, found 1"),
        ("dice(a=1, b=2, a=3)", "a=3)", "option a is given twice"),
        ("dice(a=[1, 2)", ")", "expected ], found )"),
        ("dice(a='open)", "'open)", "cannot read"),
        ("2dice", "2dice", "cannot read '2dice'"),
        ("1.2.3*dice", "1.2.3*dice", "cannot read"),
        ("dice*1e999", "1e999", "1e999 is too large"),
        ("1 + 2", "1 + 2", "names no loss"),
        ("seg = ", "", "expected name"),
        ("seg == dice", "== dice", "did not expect =="),
        ("dice.mean", ".mean", "did not expect ."),
    ],
)
def test_an_error_of_an_item_points_at_its_column(text: str, rest: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_item(text)
    assert words in str(caught.value)
    assert pointed_at(caught.value) == (text, rest)


@pytest.mark.parametrize(
    ("text", "rest", "words"),
    [
        ("dice.mean", "", "expected < <= > >="),
        ("dice.mean = 0.1", "= 0.1", "expected < <= > >="),
        ("dice. <= 0.1", "<= 0.1", "expected name"),
        ("dice.95 <= 0.1", ".95 <= 0.1", "expected < <= > >="),
        ("dice[].mean <= 0.1", "].mean <= 0.1", "class name"),
        ("dice[road.mean <= 0.1", "road.mean <= 0.1", "class name"),
        ("dice.mean <= ", "", "expected name, found the end"),
        ("dice.mean <= 0.1 < 1", "< 1", "did not expect <"),
        ("dice.mean <= baselin", "baselin", "numbers and the word baseline"),
        ("dice.mean <= baseline(x=1)", "baseline(x=1)", "numbers and the word baseline"),
        ("<= 0.1", "<= 0.1", "expected name"),
    ],
)
def test_an_error_of_a_gate_points_at_its_column(text: str, rest: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_gate(text)
    assert words in str(caught.value)
    shown, after = pointed_at(caught.value)
    assert shown.strip() == text.strip()
    assert after == rest


@pytest.mark.parametrize(
    ("losses", "gates", "word"),
    [
        ("dice + dicee", "", "dicee"),
        ("   dicee", "", "dicee"),
        ("dice  +  dicee", "", "dicee"),
        ("seg = dice(smooth=1) + bce( smoth = 1 )", "", "smoth"),
        ("0.5*dice + 0.5*dice(smooth=true)", "", "smooth=true"),
        ("", "  dicee.mean <= 1", "dicee"),
        ("", "dice( smoth = 1 ).mean <= 1", "smoth"),
        ("", "dice( smooth = 1 , smoth = 2 ).mean <= 1", "smoth"),
        ("", "  dice <= 1", "dice"),
        ("", "dice.men  <=  1", "men"),
        ("", "dice[.men].men <= 1", "men <="),
        ("", "dice.mean  >=  1", ">="),
        ("", "dice[a >= b].mean >= 1", ">= 1"),
    ],
)
def test_an_error_of_meaning_points_at_the_word_too(losses: str, gates: str, word: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        lossbench.plan("no/pred", "no/gt", losses or (), gates=gates or ())
    assert pointed_at(caught.value)[1].startswith(word)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 200 + "l1",
        "(" * 200 + "l1" + ")" * 200,
        "l1(a=" + "[" * 200,
        "l1(a=" * 200,
        "l1" + "*l1" * 2000,
        "l" * 5000,
        "dice." + "mean" * 1000 + " <= 1",
        "dice.mean <= " + "-" * 200 + "1",
    ],
)
def test_nesting_and_length_have_a_limit_that_is_told(text: str) -> None:
    for parse in (parse_item, parse_gate):
        with pytest.raises(ExpressionError):
            parse(text)


@pytest.mark.parametrize("text", ["1+" * 990 + "l1", "l1" + "-l1" * 600, "2*" * 900 + "l1"])
def test_a_long_flat_sum_is_worked_out_or_refused_but_never_overflows(text: str) -> None:
    try:
        item = parse_item(text)
    except ExpressionError:
        return
    assert worked_out(item) == pytest.approx(eval(text, {}, VALUES))


# Pieces of the grammar come more often to the places where it can go wrong than letters do.
WORDS = ("dice", "l1", "a", "baseline", "mean", "true", "1", "2.5", "1e999", "é", "²", "٣")
JOINED = ("<=", "==", " = ", "(a=", ", b=[", "']", "\n", "\x00", "\ud800", "\u2003")
PIECES = st.sampled_from([*WORDS, *JOINED, *"+-*/()[]=<>!,.'\"% \t_"])
ANY_TEXT = st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=40).map("".join))


@settings(max_examples=600, deadline=None)
@given(ANY_TEXT)
@example("dice(a=-)")
@example("dice[")
@example("٣*dice")
@example("dice.mean <= 1/0*0")
def test_no_text_raises_anything_but_an_expression_error(text: str) -> None:
    for parse in (parse_item, parse_gate):
        with suppress(ExpressionError):
            parse(text)


def _written() -> st.SearchStrategy[str]:
    """Expressions as text, with and without parentheses, of Python's own syntax."""
    numbers = st.one_of(
        st.integers(0, 999).map(str),
        st.floats(0, 1e6, allow_nan=False).map(repr),
        st.sampled_from([".5", "5.", "1E3", "2.5e-3"]),
    )
    leaf = st.one_of(numbers, st.sampled_from(sorted(VALUES)))

    def grow(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        blank = st.sampled_from(["", " "])
        joined = st.tuples(part, blank, st.sampled_from("+-*/"), blank, part).map("".join)
        return st.one_of(joined, part.map("({})".format), part.map("-{}".format))

    return st.recursive(leaf, grow, max_leaves=20)


@settings(max_examples=400, deadline=None)
@given(_written())
def test_an_expression_is_worth_what_python_makes_of_it(text: str) -> None:
    text += " + l1"  # it has to name a loss
    try:
        expected = float(eval(text, {}, VALUES))
    except ZeroDivisionError:
        assume(False)
    found = worked_out(parse_item(text))
    assert found == expected or (math.isnan(found) and math.isnan(expected))


@settings(max_examples=200, deadline=None)
@given(_written())
def test_a_name_and_blanks_do_not_change_what_an_expression_is_worth(text: str) -> None:
    text += " + l1"
    plain = parse_item(text)
    assert parse_item(f"  some_name={text}  ").node == plain.node
    assert parse_item(text.replace(" ", "   ")).node == plain.node
