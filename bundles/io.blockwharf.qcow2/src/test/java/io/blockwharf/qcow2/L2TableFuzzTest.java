package io.blockwharf.qcow2;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;

import java.nio.ByteBuffer;

/** Anything in the L1 table and an L2 table: a sentence, or failing requests. */
class L2TableFuzzTest {
    @FuzzTest(maxExecutions = 2000, maxDuration = "20s")
    void fails(FuzzedDataProvider data) throws Exception {
        ByteBuffer image = ByteBuffer.wrap(RichImage.once());
        long l1 = image.getLong(40);
        long l2 = image.getLong((int) l1) & Mapping.OFFSET;
        boolean first = data.consumeBoolean();
        RichImage.fuzz(data, first ? l1 : l2, first ? 8 : 4096);
    }
}
