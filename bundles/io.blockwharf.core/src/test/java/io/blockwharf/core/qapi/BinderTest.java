package io.blockwharf.core.qapi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.core.JsonProcessingException;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpException.ErrorClass;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * QEMU, {@code qapi/qobject-input-visitor.c}. Every sentence about a type that QEMU has, too, is
 * what qemu-storage-daemon 7.2 answers; the path of a keyval list is {@code a.0}, JSON's is {@code
 * a[0]}.
 */
class BinderTest {
    private final Binder binder = new Binder(Samples.BRANCHES);

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    # members in the order of the schema, the discriminator first
                    BlockExportOptions | {} | Parameter 'type' is missing
                    BlockExportOptions | {"bogus":1} | Parameter 'type' is missing
                    BlockExportOptions | {"type":1} | Invalid parameter type for 'type', expected: string
                    BlockExportOptions | {"type":null} | Invalid parameter type for 'type', expected: string
                    BlockExportOptions | {"type":"foo"} | Parameter 'type' does not accept value 'foo'
                    BlockExportOptions | {"type":"nbd"} | Parameter 'id' is missing
                    BlockExportOptions | {"type":"nbd","id":"x"} | Parameter 'node-name' is missing
                    BlockExportOptions | {"type":"nbd","id":"x","name":1} | Parameter 'node-name' is missing
                    BlockExportOptions | {"type":"nbd","id":"x","iothread":1} | Invalid parameter type for 'iothread', expected: BlockExportIothreads
                    BlockExportOptions | {"type":"nbd","id":"x","iothread":[1]} | Invalid parameter type for 'iothread[0]', expected: string
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","writable":1} | Invalid parameter type for 'writable', expected: boolean
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","writable":"on"} | Invalid parameter type for 'writable', expected: boolean
                    # leftovers at the end of each struct, inner structs first
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","bogus":1} | Parameter 'bogus' is unexpected
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","nodeName":1} | Parameter 'nodeName' is unexpected
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","addr":{}} | Parameter 'addr' is unexpected
                    BlockExportOptions | {"bogus":1,"type":"nbd","id":"x","node-name":"n","bitmaps":[{"node":"a","name":"b","c":1}]} | Parameter 'bitmaps[0].c' is unexpected
                    Nothing | {"x":1} | Parameter 'x' is unexpected
                    # lists, and alternates within, whose errors lose the path
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","bitmaps":1} | Invalid parameter type for 'bitmaps', expected: array
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","bitmaps":[1]} | Invalid parameter type for 'null', expected: BlockDirtyBitmapOrStr
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","bitmaps":[{"node":"a"}]} | Parameter 'bitmaps[0].name' is missing
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n","bitmaps":["a",{"node":3,"name":"b","c":1}]} | Invalid parameter type for 'bitmaps[1].node', expected: string
                    # flat unions
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n"} | Parameter 'addr' is missing
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":3} | Invalid parameter type for 'addr', expected: object
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{}} | Parameter 'addr.type' is missing
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"foo"}} | Parameter 'type' does not accept value 'foo'
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix"}} | Parameter 'addr.path' is missing
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p","x":1}} | Parameter 'addr.x' is unexpected
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p","abstract_":true}} | Parameter 'addr.abstract_' is unexpected
                    # unsigned integers: first as 64 bits, then as what they are
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":65536} | Parameter 'num-queues' expects uint16_t
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":-1} | Parameter 'num-queues' expects uint16_t
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":1.5} | Parameter 'num-queues' expects uint64
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":"1"} | Parameter 'num-queues' expects uint64
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":true} | Parameter 'num-queues' expects uint64
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"logical-block-size":"1k"} | Parameter 'logical-block-size' expects uint64
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"logical-block-size":-1} | Parameter 'logical-block-size' expects uint64
                    BlockdevOptions | {"driver":"null-co","latency-ns":18446744073709551616} | Parameter 'latency-ns' expects uint64
                    Everything | {"octets":[1,256]} | Parameter 'null' expects uint8_t
                    # unions in the old form
                    ServerStart | {"addr":{"type":"unix"}} | Parameter 'addr.data' is missing
                    ServerStart | {"addr":{"type":"unix","path":"p"}} | Parameter 'addr.data' is missing
                    ServerStart | {"addr":{"data":{}}} | Parameter 'addr.type' is missing
                    ServerStart | {"addr":{"type":"unix","data":1}} | Invalid parameter type for 'addr.data', expected: object
                    ServerStart | {"addr":{"type":"unix","data":{}}} | Parameter 'addr.data.path' is missing
                    ServerStart | {"addr":{"type":"unix","data":{"path":"x","bogus":1}}} | Parameter 'addr.data.bogus' is unexpected
                    ServerStart | {"addr":{"type":"unix","data":{"path":"x"},"bogus":1}} | Parameter 'addr.bogus' is unexpected
                    ServerStart | {"addr":{"type":"unix","data":{"path":"x"}},"max-connections":4294967296} | Parameter 'max-connections' expects uint32_t
                    ServerStart | {"addr":{"type":"unix","data":{"path":"x"}},"max-connections":-1} | Parameter 'max-connections' expects uint32_t
                    ServerStart | {"addr":{"type":"unix","data":{"path":"x"}},"max-connections":"1"} | Parameter 'max-connections' expects uint64
                    # a union within itself; signed integers
                    BlockdevOptions | {"driver":"raw"} | Parameter 'file' is missing
                    BlockdevOptions | {"driver":"raw","file":3} | Invalid parameter type for 'file', expected: BlockdevRef
                    BlockdevOptions | {"driver":"raw","file":null} | Invalid parameter type for 'file', expected: BlockdevRef
                    BlockdevOptions | {"driver":"raw","file":{"size":1}} | Parameter 'file.driver' is missing
                    BlockdevOptions | {"driver":"raw","file":{"driver":"foo"}} | Parameter 'driver' does not accept value 'foo'
                    BlockdevOptions | {"driver":"raw","file":{"driver":"null-co","size":"1M"}} | Invalid parameter type for 'file.size', expected: integer
                    BlockdevOptions | {"driver":"raw","file":{"driver":"null-co","x":1},"y":1} | Parameter 'file.x' is unexpected
                    BlockdevOptions | {"driver":"raw","file":"f","size":1.5} | Invalid parameter type for 'size', expected: integer
                    BlockdevOptions | {"driver":"raw","file":"f","size":9223372036854775808} | Invalid parameter type for 'size', expected: integer
                    BlockdevOptions | {"driver":"raw","file":"f","size":99999999999999999999} | Invalid parameter type for 'size', expected: integer
                    BlockdevOptions | {"driver":"raw","cache":{"direct":"on"}} | Invalid parameter type for 'cache.direct', expected: boolean
                    BlockdevOptions | {"driver":"raw","cache":{"directx":true},"bogus":1} | Parameter 'cache.directx' is unexpected
                    BlockdevOptions | {"driver":"raw","detect-zeroes":"x"} | Parameter 'detect-zeroes' does not accept value 'x'
                    BlockdevOptions | {"driver":"raw","detect-zeroes":"ON"} | Parameter 'detect-zeroes' does not accept value 'ON'
                    BlockdevOptions | {"driver":"raw","discard":null} | Invalid parameter type for 'discard', expected: string
                    # the rest of the types
                    Everything | {"ratio":"1"} | Invalid parameter type for 'ratio', expected: number
                    Everything | {"mode":"very_hard"} | Parameter 'mode' does not accept value 'very_hard'
                    Everything | {"text":1} | Invalid parameter type for 'text', expected: StrOrNull
                    Everything | {"alternate":"1"} | Invalid parameter type for 'alternate', expected: NumberOrSwitchOrPoint
                    Everything | {"alternate":{"x":1}} | Parameter 'alternate.y' is missing
                    Everything | {"small":2147483648} | Parameter 'small' expects int32_t
                    Everything | {"nested":{"nested":{"rules":[{"match":"a"}]}}} | Parameter 'nested.nested.rules[0].policy' is missing
                    Everything | {"grid":[["a"],["b",1]]} | Invalid parameter type for 'grid[1][1]', expected: string
                    Everything | {"snake-case":"x"} | Parameter 'snake-case' is unexpected
                    Everything | {"nothing":{"x":1}} | Parameter 'nothing.x' is unexpected
                    # what a record says against its components, after everything else
                    Spans | {"span":{"from":2,"to":1}} | The span ends before it begins
                    Spans | {"span":{"from":2,"to":1,"x":1}} | Parameter 'span.x' is unexpected
                    """)
    void wrongArgumentsAreToldInTheWordsOfQemu(String type, String json, String sentence)
            throws JsonProcessingException {
        Map<String, Object> arguments = Samples.parse(json);

        QmpException failure =
                assertThrows(
                        QmpException.class,
                        () -> binder.bind(Samples.type(type), arguments, false));

        assertEquals(sentence, failure.getMessage());
        assertEquals(ErrorClass.GENERIC_ERROR, failure.errorClass());
    }

    @ParameterizedTest(name = "{0} {1}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    Nothing | {}
                    BlockExportOptions | {"type":"nbd","id":"x","node-name":"n"}
                    BlockExportOptions | {"type":"nbd","id":"x","iothread":"t","node-name":"n","writable":true,"name":"","bitmaps":[]}
                    BlockExportOptions | {"type":"nbd","id":"x","iothread":["t","u"],"node-name":"n","bitmaps":["a",{"node":"n","name":"b"}]}
                    BlockExportOptions | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p","abstract":true},"logical-block-size":9223372036854775807,"num-queues":65535}
                    BlockdevOptions | {"driver":"raw","node-name":"r","cache":{"direct":true,"no-flush":false},"detect-zeroes":"unmap","offset":-1,"file":{"driver":"raw","file":{"driver":"null-co","latency-ns":0}}}
                    BlockdevOptions | {"driver":"raw","file":"f"}
                    ServerStart | {"addr":{"type":"inet","data":{"host":"::","port":"0"}},"max-connections":4294967295}
                    Everything | {"snake_case":"x","mode":"very-hard","ratio":0.5,"any":{"a":[1,"b",null,true,0.5]},"text":null}
                    Everything | {"mode":"io_uring"}
                    Everything | {"mode":"144","ratio":2.0,"text":"","any":null,"alternate":-1,"octets":[0,255],"small":-2147483648}
                    Everything | {"alternate":{"x":1,"y":2},"grid":[["a"],[]],"nothing":{},"nested":{"alternate":true}}
                    Everything | {"addresses":[{"type":"unix","data":{"path":"p"}},{"type":"inet","data":{"host":"h","port":"1","numeric":false}}]}
                    Everything | {"rules":[{"match":"a","policy":"safe"},{"match":"b","policy":"hard"}]}
                    """)
    void rightArgumentsMakeARecordThatReadsLikeThem(String type, String json)
            throws JsonProcessingException {
        Record bound = binder.bind(Samples.type(type), Samples.parse(json), false);

        assertEquals(Samples.JSON.readTree(json), Samples.tree(bound));
    }

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    BlockdevOptions | driver=null-co size=1M | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=x | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size= | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=08 | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=0x | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=0b1 | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=1_0 | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=9223372036854775808 | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size=-9223372036854775809 | Parameter 'size' expects integer
                    BlockdevOptions | driver=null-co size.x=1 | Parameters 'size.*' are unexpected
                    BlockdevOptions | driver=null-co size.0=1 | Parameters 'size.*' are unexpected
                    BlockdevOptions | driver=null-co read-zeroes=maybe | Parameter 'read-zeroes' expects 'on' or 'off'
                    BlockdevOptions | driver=null-co read-zeroes=ON | Parameter 'read-zeroes' expects 'on' or 'off'
                    BlockdevOptions | driver=nope | Parameter 'driver' does not accept value 'nope'
                    BlockdevOptions | driver.x=nope | Parameters 'driver.*' are unexpected
                    BlockdevOptions | node-name=x | Parameter 'driver' is missing
                    BlockdevOptions | driver=raw file.driver=nope | Parameter 'driver' does not accept value 'nope'
                    BlockdevOptions | driver=raw file.driver=null-co file.bogus=3 | Parameter 'file.bogus' is unexpected
                    BlockdevOptions | driver=raw file.driver=null-co bogus.x=3 | Parameter 'bogus' is unexpected
                    BlockdevOptions | driver=raw file.0=x | Invalid parameter type for 'file', expected: BlockdevRef
                    BlockdevOptions | driver=raw cache=3 | Invalid parameter type for 'cache', expected: object
                    BlockdevOptions | driver=raw cache.direct=3 | Parameter 'cache.direct' expects 'on' or 'off'
                    BlockExportOptions | type=nbd id=x node-name=n writable=maybe | Parameter 'writable' expects 'on' or 'off'
                    BlockExportOptions | type=nbd id=x node-name=n bitmaps=a | Invalid parameter type for 'bitmaps', expected: array
                    BlockExportOptions | type=nbd id=x node-name=n bitmaps.0=a bitmaps.1.node=b | Parameter 'bitmaps.1.name' is missing
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p num-queues=70000 | Parameter 'num-queues' expects uint16_t
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p num-queues=-1 | Parameter 'num-queues' expects uint16_t
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p num-queues=0x1g | Parameter 'num-queues' expects integer
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p num-queues=99999999999999999999 | Parameter 'num-queues' expects integer
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=x | Parameter 'logical-block-size' expects size
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=1.5 | Parameter 'logical-block-size' expects size
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=-1 | Parameter 'logical-block-size' expects size
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=1e3 | Parameter 'logical-block-size' expects size
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=16E | Parameter 'logical-block-size' expects size
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size= | Parameter 'logical-block-size' expects size
                    Everything | rules.0.match=a | Parameter 'rules.0.policy' is missing
                    Everything | rules.0.match=a rules.2.match=b | Parameter 'rules.1' missing
                    Everything | rules.0.match=a rules.0.policy=b | Parameter 'policy' does not accept value 'b'
                    Everything | rules=a | Invalid parameter type for 'rules', expected: array
                    Everything | rules.a=a | Invalid parameter type for 'rules', expected: array
                    Everything | rules.0=a | Invalid parameter type for 'rules.0', expected: object
                    Everything | rules.0.match=a rules.0.policy=safe rules.a=1 | Parameters 'rules.*' used inconsistently
                    Everything | nested.rules.0.match=a nested.rules.x=a | Parameters 'nested.rules.*' used inconsistently
                    Everything | nested.grid.1.0=a | Parameter 'nested.grid.0' missing
                    Everything | ratio=NaN | Invalid parameter type for 'ratio', expected: number
                    Everything | ratio=1f | Invalid parameter type for 'ratio', expected: number
                    Everything | ratio=1e999 | Invalid parameter type for 'ratio', expected: number
                    Everything | alternate=1 | Invalid parameter type for 'alternate', expected: NumberOrSwitchOrPoint
                    ServerStart | addr.type=unix addr.data.path=p max-connections=-1 | Parameter 'max-connections' expects uint32_t
                    ServerStart | addr.type=unix addr.data.path=p max-connections=5000000000 | Parameter 'max-connections' expects uint32_t
                    ServerStart | addr.type=unix addr.data.path=p max-connections=1k | Parameter 'max-connections' expects integer
                    """)
    void wrongKeysAndValuesAreToldInTheWordsOfQemu(String type, String pairs, String sentence) {
        QmpException failure =
                assertThrows(
                        QmpException.class,
                        () -> binder.bind(Samples.type(type), keyval(pairs), true));

        assertEquals(sentence, failure.getMessage());
    }

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    BlockdevOptions | driver=null-co size=010 | {"driver":"null-co","size":8}
                    BlockdevOptions | driver=null-co size=0x1F | {"driver":"null-co","size":31}
                    BlockdevOptions | driver=null-co size=+5 | {"driver":"null-co","size":5}
                    BlockdevOptions | driver=null-co size=0 | {"driver":"null-co","size":0}
                    BlockdevOptions | driver=null-co size=-9223372036854775808 | {"driver":"null-co","size":-9223372036854775808}
                    BlockdevOptions | driver=null-co read-zeroes=on | {"driver":"null-co","read-zeroes":true}
                    BlockdevOptions | driver=null-co read-zeroes=y | {"driver":"null-co","read-zeroes":true}
                    BlockdevOptions | driver=null-co read-zeroes=true | {"driver":"null-co","read-zeroes":true}
                    BlockdevOptions | driver=null-co read-zeroes=no | {"driver":"null-co","read-zeroes":false}
                    BlockdevOptions | driver=raw file=f cache.direct=on | {"driver":"raw","cache":{"direct":true},"file":"f"}
                    BlockdevOptions | driver=raw file.driver=null-co discard=unmap | {"driver":"raw","discard":"unmap","file":{"driver":"null-co"}}
                    BlockExportOptions | type=nbd id=x node-name=n bitmaps.1.node=a bitmaps.1.name=b bitmaps.0=c | {"type":"nbd","id":"x","node-name":"n","bitmaps":["c",{"node":"a","name":"b"}]}
                    BlockExportOptions | type=nbd id=x node-name=n iothread.0=a iothread.1=b | {"type":"nbd","id":"x","iothread":["a","b"],"node-name":"n"}
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=1.5k | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"logical-block-size":1536}
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=512B | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"logical-block-size":512}
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=0x200 | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"logical-block-size":512}
                    BlockExportOptions | type=vhost-user-blk id=x node-name=n addr.type=unix addr.path=p logical-block-size=7E | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"logical-block-size":8070450532247928832}
                    Everything | ratio=-1.5e2 any.a.0=1 text=on octets.0=0xff | {"ratio":-150.0,"any":{"a":["1"]},"text":"on","octets":[255]}
                    """)
    void keysAndValuesMakeARecord(String type, String pairs, String json)
            throws JsonProcessingException {
        Record bound = binder.bind(Samples.type(type), keyval(pairs), true);

        assertEquals(Samples.JSON.readTree(json), Samples.tree(bound));
    }

    @Test
    void absentMembersAreEmptyAndPresentOnesTyped() {
        BlockdevOptions options =
                binder.bind(
                        BlockdevOptions.class,
                        Map.of("driver", "raw", "file", "f", "size", 3, "read-only", true),
                        false);

        assertEquals(Optional.empty(), options.nodeName());
        assertEquals(Optional.of(true), options.readOnly());
        assertEquals(
                new Samples.Raw(Optional.empty(), Optional.of(3L), new BlockdevRef.Reference("f")),
                options.options());
    }

    @Test
    void nestingIsLimited() {
        Object inner = "x";
        for (int i = 0; i < 100_000; i++) {
            inner = Map.of("driver", "raw", "file", inner);
        }
        Map<String, Object> deep = Map.of("driver", "raw", "file", inner);

        for (boolean keyval : List.of(false, true)) {
            QmpException failure =
                    assertThrows(
                            QmpException.class,
                            () -> binder.bind(BlockdevOptions.class, deep, keyval));
            assertEquals("Parameters are nested too deeply", failure.getMessage());
        }
    }

    /** What the launcher makes of {@code a.b=c,...}: maps of maps of strings. */
    @SuppressWarnings("unchecked")
    private static Map<String, Object> keyval(String pairs) {
        Map<String, Object> root = new LinkedHashMap<>();
        for (String pair : pairs.split(" ")) {
            String[] keyAndValue = pair.split("=", 2);
            String[] path = keyAndValue[0].split("\\.");
            Map<String, Object> map = root;
            for (int i = 0; i < path.length - 1; i++) {
                map =
                        (Map<String, Object>)
                                map.computeIfAbsent(path[i], _ -> new LinkedHashMap<>());
            }
            map.put(path[path.length - 1], keyAndValue[1]);
        }
        return root;
    }
}
