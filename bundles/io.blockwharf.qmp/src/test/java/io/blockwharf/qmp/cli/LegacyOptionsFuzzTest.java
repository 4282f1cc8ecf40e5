package io.blockwharf.qmp.cli;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qmp.chardev.ChardevOption;

import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Whatever stands behind an option of the older sort: members that it has, or an error. */
class LegacyOptionsFuzzTest {
    @FuzzTest(maxExecutions = 200_000, maxDuration = "60s")
    void anyTextIsAnOldOptionOrAnError(byte[] input) {
        String text = new String(input, StandardCharsets.UTF_8);
        try {
            Map<String, Object> members =
                    LegacyOptions.parse(text, "backend", ChardevOption.TYPES, _ -> {});
            assertTrue(ChardevOption.TYPES.keySet().containsAll(members.keySet()));
        } catch (QmpException e) {
            assertFalse(e.getMessage().isBlank());
        }
    }
}
