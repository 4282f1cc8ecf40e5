package io.blockwharf.qcow2;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;

import java.nio.ByteBuffer;

/** Anything in the header and its extensions: a sentence, or an image. */
class HeaderFuzzTest {
    @FuzzTest(maxExecutions = 2000, maxDuration = "20s")
    void fails(FuzzedDataProvider data) throws Exception {
        ByteBuffer image = ByteBuffer.wrap(RichImage.once());
        RichImage.fuzz(data, 0, Math.min(image.capacity(), 512));
    }
}
