package io.blockwharf.it.transcript;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** Command lines that cannot be carried out end in the same words as qemu-storage-daemon's. */
class CommandLineIT {
    @TempDir Path directory;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "extra",
                "--bogus=3",
                "-bogus",
                "--exp",
                "--daemonize=3",
                "--e fuse",
                "--export=nbd,id=e,node-name=nope",
                "--export nbd,id",
                "--export nbd,a.b=1,a=2",
                "--export nbd,a.0=1,a.2=2",
                "--export nbd,id=e,node-name=n,writable=xx",
                "--export {\"type\":\"nbd\",\"id\":\"e\",\"node-name\":\"n\",\"writable\":\"on\"}",
                "--export help",
                "--blockdev null-co,node-name=n,size=1M",
                "--blockdev null-co,node-name=n,file.x=1",
                "--object iothread",
                "--object bogus,id=x",
                "--monitor nope",
                "--monitor {\"chardev\":\"m\"}}",
                "--chardev null,id=m --monitor m,mode=readline",
                "--chardev null,id=m --monitor m --monitor m",
                "--chardev stdio",
                "--chardev bogus,id=m",
                "--chardev id=m",
                "--chardev null,id=a,foo=3",
                "--chardev null,id=1x",
                "--chardev null,id=a --chardev null,id=a",
                "--chardev stdio,id=a --chardev stdio,id=b",
                "--chardev socket,id=a",
                "--chardev socket,id=a,fd=99",
                "--chardev socket,id=a,host=localhost",
                "--chardev socket,id=a,path=/nonexistent/s",
                "--chardev socket,id=a,path=/nonexistent/s,server=on,wait=off",
                "--chardev socket,id=a,path=x,server=maybe",
                "--chardev file,id=a",
                "--chardev ringbuf,id=a,size=3"
            })
    void failures(String line) throws IOException, InterruptedException {
        List<String> arguments = List.of(line.split(" "));
        assertEquals(
                Program.THEIRS.run(directory, arguments), Program.OURS.run(directory, arguments));
    }
}
