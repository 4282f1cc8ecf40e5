package io.blockwharf.qcow2;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;

import java.nio.ByteBuffer;

/** Anything in the refcount table and a refcount block: failing requests at most. */
class RefcountsFuzzTest {
    @FuzzTest(maxExecutions = 2000, maxDuration = "20s")
    void fails(FuzzedDataProvider data) throws Exception {
        ByteBuffer image = ByteBuffer.wrap(RichImage.once());
        long table = image.getLong(48);
        long block = image.getLong((int) table);
        boolean first = data.consumeBoolean();
        RichImage.fuzz(data, first ? table : block, first ? 64 : 512);
    }
}
