export default () => alert(1)
