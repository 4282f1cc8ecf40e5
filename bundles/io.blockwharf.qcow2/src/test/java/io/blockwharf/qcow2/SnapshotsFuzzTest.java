package io.blockwharf.qcow2;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;

import java.nio.ByteBuffer;

/** Anything in the snapshot table: a sentence, or an image. */
class SnapshotsFuzzTest {
    @FuzzTest(maxExecutions = 2000, maxDuration = "20s")
    void fails(FuzzedDataProvider data) throws Exception {
        ByteBuffer image = ByteBuffer.wrap(RichImage.once());
        RichImage.fuzz(data, image.getLong(64), 128);
    }
}
