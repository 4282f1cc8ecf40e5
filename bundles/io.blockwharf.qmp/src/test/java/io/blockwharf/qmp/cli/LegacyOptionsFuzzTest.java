package io.blockwharf.qmp.cli;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qmp.chardev.ChardevOption;

import java.nio.charset.StandardCharsets;

/** Whatever stands behind an option of the older sort: members that it has, or an error. */
class LegacyOptionsFuzzTest {
    @FuzzTest(maxExecutions = 200_000, maxDuration = "60s")
    void anyTextIsAnOldOptionOrAnError(byte[] input) {
        String text = new String(input, StandardCharsets.UTF_8);
        try {
            LegacyOptions options = LegacyOptions.parse(text, "backend", ChardevOption.NAMES);
            assertTrue(ChardevOption.NAMES.containsAll(options.members().keySet()));
        } catch (QmpException e) {
            assertFalse(e.getMessage().isBlank());
        }
    }
}
