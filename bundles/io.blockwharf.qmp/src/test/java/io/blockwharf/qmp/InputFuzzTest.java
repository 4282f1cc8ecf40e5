package io.blockwharf.qmp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.qmp.wire.JsonReader;
import io.blockwharf.qmp.wire.JsonText;

import java.util.ArrayList;
import java.util.List;

/**
 * Whatever a client sends, and however it arrives: requests or complaints, the same ones. The first
 * byte of an input says how many bytes arrive at a time.
 */
class InputFuzzTest {
    @FuzzTest(maxExecutions = 50_000, maxDuration = "60s")
    void anyBytesAreRequestsOrComplaints(byte[] input) {
        if (input.length == 0) {
            return;
        }
        List<String> atOnce = read(input, input.length);
        assertEquals(atOnce, read(input, 1 + (input[0] & 15)));
    }

    private static List<String> read(byte[] input, int piece) {
        List<String> found = new ArrayList<>();
        JsonReader reader = new JsonReader(each -> found.add(describe(each)), () -> true);
        for (int i = 1; i < input.length; i += piece) {
            reader.read(input, i, Math.min(piece, input.length - i));
        }
        reader.end();
        return found;
    }

    private static String describe(JsonReader.Found found) {
        return switch (found) {
            case JsonReader.Malformed malformed -> {
                assertFalse(malformed.message().isBlank());
                yield "malformed";
            }
            case JsonReader.Value value -> {
                Request request = Request.of(value.value(), true);
                if (request instanceof Request.Invalid invalid) {
                    assertFalse(invalid.message().isBlank());
                }
                String text = JsonText.LINE.of(value.value());
                JsonReader.Found again = JsonReader.parse(JsonText.PRETTY.of(value.value()));
                assertEquals(text, JsonText.LINE.of(((JsonReader.Value) again).value()));
                yield text;
            }
        };
    }
}
