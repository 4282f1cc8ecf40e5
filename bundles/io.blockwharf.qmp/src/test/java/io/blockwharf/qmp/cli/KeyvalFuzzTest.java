package io.blockwharf.qmp.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.api.qmp.QmpException;

import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * Whatever stands behind an option: members that mean the same when they are written again, or an
 * error.
 */
class KeyvalFuzzTest {
    @FuzzTest(maxExecutions = 200_000, maxDuration = "60s")
    void anyTextIsKeyvalOrAnError(byte[] input) {
        String text = new String(input, StandardCharsets.UTF_8);
        Keyval.Parsed parsed;
        try {
            parsed = Keyval.parse(text, "implied");
        } catch (QmpException e) {
            assertFalse(e.getMessage().isBlank());
            return;
        }
        StringBuilder again = new StringBuilder();
        write(parsed.members(), "", again);
        assertEquals(parsed.members(), Keyval.parse(again.toString(), "").members());
    }

    private static void write(Map<?, ?> members, String prefix, StringBuilder text) {
        members.forEach(
                (name, value) -> {
                    if (value instanceof Map<?, ?> inner) {
                        write(inner, prefix + name + ".", text);
                    } else {
                        text.append(text.isEmpty() ? "" : ",").append(prefix).append(name);
                        text.append('=').append(value.toString().replace(",", ",,"));
                    }
                });
    }
}
