package io.blockwharf.qmp.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** A QMP client's input: values, and what is none. ~ stands for the end of a line. */
class JsonReaderTest {
    private final List<String> found = new ArrayList<>();

    private final JsonReader reader =
            new JsonReader(
                    each ->
                            found.add(
                                    switch (each) {
                                        case JsonReader.Value value ->
                                                JsonText.LINE.of(value.value());
                                        case JsonReader.Malformed _ -> "error";
                                    }),
                    this::admits);

    private int asked;
    private boolean admitting = true;

    private boolean admits() {
        asked++;
        return admitting;
    }

    private void read(byte[] bytes, int chunk) {
        for (int i = 0; i < bytes.length; i += chunk) {
            reader.read(bytes, i, Math.min(chunk, bytes.length - i));
        }
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    {"a": 1}~                      | {"a": 1}
                    {"a":1}{"b":2}                 | {"a": 1} {"b": 2}
                    {"a":~1}~~{"b":2}              | {"a": 1} {"b": 2}
                    {'a':'x"y'}                    | {"a": "x\\"y"}
                    [1,-2,2.5,1e3,true,false,null] | [1, -2, 2.5, 1000, true, false, null]
                    [[],{},[{"a":[{}]}]]           | [[], {}, [{"a": [{}]}]]
                    "x" 3 true~                    | "x" 3 true
                    {"a":18446744073709551615}     | {"a": 18446744073709551615}
                    {"a":-9223372036854775808}     | {"a": -9223372036854775808}
                    {"a":18446744073709551616}     | {"a": 1.8446744073709552E19}
                    ["\\u00e9\\ud83d\\ude00\\/"]   | ["\\u00E9\\uD83D\\uDE00/"]
                    {"a":}~{"b":2}                 | error {"b": 2}
                    {"a":} {"lost":1}~{"b":2}      | error {"b": 2}
                    {"a":1,"a":2}~{"b":2}          | error {"b": 2}
                    {"a":"~{"b":2}                 | error {"b": 2}
                    {"a":1~{"b":2}~{"c":3}         | error {"c": 3}
                    ]~{"b":2}                      | error {"b": 2}
                    nul~{"b":2}                    | error {"b": 2}
                    {"a" 1}~}~{"b":2}              | error error {"b": 2}
                    {"a":[}}~[1,]~{"b":2}          | error error {"b": 2}
                    {"a":1}{"b":2,}{"lost":3}~4~   | {"a": 1} error 4
                    {"a":",}\\",]"}{'b':'\\',}'} | {"a": ",}\\",]"} {"b": "',}"}
                    """)
    void values(String input, String expected) {
        byte[] bytes = input.replace('~', '\n').getBytes(StandardCharsets.UTF_8);
        for (int chunk : new int[] {1, 2, 7, bytes.length}) {
            found.clear();
            read(bytes, chunk);
            assertEquals(expected, String.join(" ", found), "in pieces of " + chunk);
        }
    }

    @Test
    void byteFfForgetsWhatWasBegun() {
        read("{\"a\":[1,".getBytes(StandardCharsets.UTF_8), 100);
        read(new byte[] {(byte) 0xff}, 1);
        read("{\"b\":2}".getBytes(StandardCharsets.UTF_8), 100);
        assertEquals(List.of("error", "{\"b\": 2}"), found);
    }

    @Test
    void nestingIsBounded() {
        read("[".repeat(1024).concat("]".repeat(1024)).getBytes(StandardCharsets.UTF_8), 4096);
        read("[".repeat(1025).concat("\n3\n").getBytes(StandardCharsets.UTF_8), 4096);
        assertEquals(List.of("[".repeat(1024) + "]".repeat(1024), "error", "3"), found);
    }

    @Test
    void tokensAreBounded() {
        read("[".concat("1,".repeat(JsonReader.MAX_TOKENS)).getBytes(), 4096);
        read("\n3\n".getBytes(), 4096);
        assertEquals(List.of("error", "3"), found);
    }

    @Test
    void sizeIsBounded() {
        byte[] piece = ("\"" + "x".repeat(1 << 20) + "\",").getBytes();
        read("[".getBytes(), 1);
        for (int sent = 0; sent <= JsonReader.MAX_BYTES; sent += piece.length) {
            read(piece, 4096);
        }
        read("\n3\n".getBytes(), 4096);
        assertEquals(List.of("error", "3"), found);
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void eachLargeValueIsAskedFor(boolean admitted) {
        admitting = admitted;
        String tokens = "1,".repeat(JsonReader.LARGE_TOKENS);
        String bytes = "\"" + "x".repeat(JsonReader.LARGE_BYTES) + "\"";
        for (String large : List.of("[" + tokens + "2]", "[3," + bytes + "," + tokens + "4]")) {
            read((large + "\n5\n").getBytes(), 4096);
            assertEquals(admitted, !found.getFirst().equals("error"));
            assertEquals(List.of("5"), found.subList(1, found.size()));
            found.clear();
        }
        assertEquals(2, asked);
    }

    @Test
    void blanksBetweenValuesAreNotBounded() {
        byte[] lines = "\n".repeat(1 << 20).getBytes();
        for (int sent = 0; sent <= JsonReader.MAX_BYTES; sent += lines.length) {
            read(lines, 1 << 16);
        }
        read("[1]".getBytes(), 4096);
        assertEquals(List.of("[1]"), found);
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    {"a":1}      | Value[value={a=1}]
                    {"a":1} x    | Malformed[message=Expecting at most one JSON value]
                    {"a":1}}     | Malformed[message=Expecting at most one JSON value]
                    {"a":1}{}    | Malformed[message=Expecting at most one JSON value]
                    `  `         | Malformed[message=Expecting a JSON value]
                    """)
    void wholeTexts(String text, String expected) {
        assertEquals(expected, JsonReader.parse(text).toString());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"{", "{\"a\":1", "{\"a\":"})
    void incompleteTexts(String text) {
        assertEquals(JsonReader.Malformed.class, JsonReader.parse(text).getClass());
    }
}
