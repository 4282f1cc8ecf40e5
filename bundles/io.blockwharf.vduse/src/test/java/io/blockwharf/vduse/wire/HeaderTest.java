package io.blockwharf.vduse.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;

/** Every number here against this machine's {@code linux/vduse.h}, by its C compiler. */
class HeaderTest {
    private static final String HEADERS =
            """
            #include <linux/ioctl.h>
            #include <linux/vduse.h>
            """;

    /** struct | member | ours; no member: the size. */
    private static final Object[][] LAYOUT = {
        {"vduse_dev_config", "", DeviceConfig.HEADER_BYTES},
        {"vduse_dev_config", "name", 0},
        {"vduse_dev_config", "vendor_id", DeviceConfig.VENDOR_ID},
        {"vduse_dev_config", "device_id", DeviceConfig.DEVICE_ID},
        {"vduse_dev_config", "features", DeviceConfig.FEATURES},
        {"vduse_dev_config", "vq_num", DeviceConfig.VQ_NUM},
        {"vduse_dev_config", "vq_align", DeviceConfig.VQ_ALIGN},
        {"vduse_dev_config", "config_size", DeviceConfig.CONFIG_SIZE},
        {"vduse_dev_config", "config", DeviceConfig.HEADER_BYTES},
        {"vduse_config_data", "", ConfigData.HEADER_BYTES},
        {"vduse_config_data", "offset", ConfigData.OFFSET},
        {"vduse_config_data", "length", ConfigData.LENGTH},
        {"vduse_config_data", "buffer", ConfigData.HEADER_BYTES},
        {"vduse_vq_config", "", QueueSetup.BYTES},
        {"vduse_vq_config", "index", QueueSetup.INDEX},
        {"vduse_vq_config", "max_size", QueueSetup.MAX_SIZE},
        {"vduse_vq_info", "", QueueInfo.BYTES},
        {"vduse_vq_info", "index", QueueInfo.INDEX},
        {"vduse_vq_info", "num", QueueInfo.NUM},
        {"vduse_vq_info", "desc_addr", QueueInfo.DESC_ADDR},
        {"vduse_vq_info", "driver_addr", QueueInfo.DRIVER_ADDR},
        {"vduse_vq_info", "device_addr", QueueInfo.DEVICE_ADDR},
        {"vduse_vq_info", "split", QueueInfo.STATE},
        {"vduse_vq_info", "packed", QueueInfo.STATE},
        {"vduse_vq_info", "ready", QueueInfo.READY},
        {"vduse_vq_state_split", "avail_index", 0},
        {"vduse_vq_state_packed", "last_avail_counter", QueuePosition.LAST_AVAIL_COUNTER},
        {"vduse_vq_state_packed", "last_avail_idx", QueuePosition.LAST_AVAIL_IDX},
        {"vduse_vq_state_packed", "last_used_counter", QueuePosition.LAST_USED_COUNTER},
        {"vduse_vq_state_packed", "last_used_idx", QueuePosition.LAST_USED_IDX},
        {"vduse_vq_eventfd", "", 8},
        {"vduse_vq_eventfd", "index", 0},
        {"vduse_vq_eventfd", "fd", 4},
        {"vduse_iotlb_entry", "", IotlbEntry.BYTES},
        {"vduse_iotlb_entry", "offset", IotlbEntry.OFFSET},
        {"vduse_iotlb_entry", "start", IotlbEntry.START},
        {"vduse_iotlb_entry", "last", IotlbEntry.LAST},
        {"vduse_iotlb_entry", "perm", IotlbEntry.PERM},
        {"vduse_dev_request", "", Message.BYTES},
        {"vduse_dev_request", "type", Message.TYPE},
        {"vduse_dev_request", "request_id", Message.REQUEST_ID},
        {"vduse_dev_request", "vq_state.index", Message.BODY},
        {"vduse_dev_request", "vq_state.split", Message.BODY + Message.BODY_STATE},
        {"vduse_dev_request", "s.status", Message.BODY},
        {"vduse_dev_request", "iova.start", Message.BODY},
        {"vduse_dev_request", "iova.last", Message.BODY + Message.BODY_LAST},
        {"vduse_dev_response", "", Message.BYTES},
        {"vduse_dev_response", "request_id", Message.RESPONSE_ID},
        {"vduse_dev_response", "result", Message.RESPONSE_RESULT},
        {"vduse_dev_response", "vq_state.index", Message.BODY},
        {"vduse_dev_response", "vq_state.packed", Message.BODY + Message.BODY_STATE},
    };

    /** constant | ours. */
    private static final Object[][] CONSTANTS = {
        {"VDUSE_API_VERSION", 0},
        {"VDUSE_NAME_MAX", DeviceConfig.NAME_BYTES},
        {"VDUSE_ACCESS_RO", IotlbEntry.READ},
        {"VDUSE_ACCESS_WO", IotlbEntry.WRITE},
        {"VDUSE_GET_VQ_STATE", Message.GET_VQ_STATE},
        {"VDUSE_SET_STATUS", Message.SET_STATUS},
        {"VDUSE_UPDATE_IOTLB", Message.UPDATE_IOTLB},
        {"VDUSE_REQ_RESULT_OK", 0},
        {"VDUSE_REQ_RESULT_FAILED", 1},
    };

    @Test
    void everyNumberIsTheHeaders(@TempDir Path directory) throws Exception {
        var program = new StringBuilder(HEADERS);
        for (Ioctl ioctl : Ioctl.values()) {
            claim(program, ioctl.name(), ioctl.number());
        }
        for (Object[] row : CONSTANTS) {
            claim(program, row[0].toString(), ((Integer) row[1]).longValue());
        }
        for (Object[] row : LAYOUT) {
            String what =
                    row[1].equals("")
                            ? "sizeof(struct %s)".formatted(row[0])
                            : "__builtin_offsetof(struct %s, %s)".formatted(row[0], row[1]);
            claim(program, what, ((Integer) row[2]).longValue());
        }
        assertEquals("", compile(directory, program.toString()));
    }

    /** The proof can fail. */
    @Test
    void aWrongNumberIsFound(@TempDir Path directory) throws Exception {
        var program = new StringBuilder(HEADERS);
        claim(program, "VDUSE_NAME_MAX", 255);
        assertTrue(compile(directory, program.toString()).contains("VDUSE_NAME_MAX"));
    }

    private static void claim(StringBuilder program, String what, long number) {
        program.append(
                "_Static_assert(%s == %dUL, \"%s is not %d\");\n"
                        .formatted(what, number, what, number));
    }

    private static String compile(Path directory, String program)
            throws IOException, InterruptedException {
        Path source = Files.writeString(directory.resolve("numbers.c"), program);
        Process compiler =
                new ProcessBuilder("gcc", "-std=gnu11", "-fsyntax-only", source.toString())
                        .redirectErrorStream(true)
                        .start();
        String output = new String(compiler.getInputStream().readAllBytes());
        assertEquals(output.isEmpty() ? 0 : 1, compiler.waitFor(), output);
        return output;
    }

    /** Wrap counters and indices of packed rings, all different. */
    @ParameterizedTest
    @ValueSource(ints = {0, 0x1234, 0x8000, 0x8001_0002, 0x7fff_ffff, -1})
    void positionsGoThereAndBack(int position) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment answer = arena.allocate(Message.BYTES, 8);
            var request = new Message.GetQueueState(7, 3);
            Message.answerPosition(answer, request, true, position);
            assertEquals(7, answer.get(ValueLayout.JAVA_INT, Message.RESPONSE_ID));
            assertEquals(3, answer.get(ValueLayout.JAVA_INT, Message.BODY));
            assertEquals(
                    position,
                    QueuePosition.decode(answer, Message.BODY + Message.BODY_STATE, true));
            Message.answerPosition(answer, request, false, position & 0xffff);
            assertEquals(
                    position & 0xffff,
                    QueuePosition.decode(answer, Message.BODY + Message.BODY_STATE, false));
        }
    }

    /** Names become files of /dev/vduse and of the log's directory. */
    @ParameterizedTest
    @ValueSource(strings = {"", ".", "..", "control", "a/b", "/a", "a!b", "a\0b"})
    void namesThatAreNoneOfAFileAreRefused(String name) {
        assertEquals(false, DeviceConfig.validName(name));
        assertEquals(true, DeviceConfig.validName("disk-1.x"));
        assertEquals(true, DeviceConfig.validName("d".repeat(255)));
        assertEquals(false, DeviceConfig.validName("d".repeat(256)));
    }
}
